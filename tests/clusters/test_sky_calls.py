"""What is called of `sky`, and what is made of its answers: a stand-in speaks as SkyPilot 0.14.1 does."""

import json
import sys

import pytest

from alphaf_orch.clusters.clouds.kubernetes_calls import Kubernetes
from alphaf_orch.clusters.clouds.skypilot_calls import SkyPilot
from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.scheduler import JobState, Place
from alphaf_orch.clusters.submit import submit_jobs
from alphaf_orch.clusters.submitted import read_submitted
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

SKY = """#!{python}
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
calls = here / "calls.jsonl"
number = 17 + (calls.read_text().count('"launch"') if calls.exists() else 0)
with calls.open("a") as out:
    quiet = os.environ.get("SKYPILOT_DISABLE_USAGE_COLLECTION")
    json.dump({{"argv": sys.argv[1:], "quiet": quiet}}, out)
    out.write("\\n")
if sys.argv[1:3] == ["jobs", "launch"]:
    if (here / "refuses").exists() and (here / "refuses").read_text() in sys.argv[-1]:
        print("Ensuring the jobs controller is up...\\nChoosing resources...\\nStill\\nthere")
        print("sky.exceptions.NoCloudAccessError: No infra is enabled. Run `sky check`.", file=sys.stderr)
        sys.exit(1)
    print("\\x1b[2m├── \\x1b[0mManaged Job ID: \\x1b[1m" + str(number) + "\\x1b[0m")
elif sys.argv[1:3] == ["jobs", "queue"]:
    print((here / "queue.json").read_text())
"""


@pytest.fixture
def sky(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sky").write_text(SKY.format(python=sys.executable), encoding="utf-8")
    (folder / "sky").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def calls(folder) -> list[list[str]]:
    found = [json.loads(line) for line in (folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {call["quiet"] for call in found} == {"1"}
    return [call["argv"] for call in found]


def a_job(run: str, name: str, **more) -> Job:
    return Job(run, name, Needs("train", 8), name, **more)


CHAIN = (a_job("실험", "sft"), a_job("실험", "merge_sft", after=("실험:sft",)))
ARMS = (
    a_job("e/a", "preprocess"),
    a_job("e/a", "sft", after=("e/a:preprocess",)),
    a_job("e/b", "sft", after=("e/a:preprocess",)),
    Job("e", "report", Needs("report"), argv=("report", "e"), behind=("e/a:sft", "e/b:sft")),
)


@pytest.fixture
def submit(tmp_path):
    def call(scheduler, jobs, known=None):
        seen = str(tmp_path)
        said: list[str] = []
        profile = {
            "skypilot": {"scheduler": "skypilot", "env": ("HF_TOKEN",),
                         "skypilot": {"accelerator": "H100", "shared": (seen,)}},
            "kubernetes": {"scheduler": "kubernetes", "container": {"runtime": "image", "image": "i"},
                           "kubernetes": {"namespace": "nlp", "volumes": [{"claim": "c", "path": seen}]}},
        }[scheduler.name]  # fmt: skip
        ids = submit_jobs(
            jobs, Profile(**profile), scheduler, lambda run: RunPaths(tmp_path / "runs" / run),
            Place(f"{seen}/python", seen), said.append, on=scheduler.name, known=known,
        )  # fmt: skip
        return ids, said

    return call


def test_a_chain_is_one_managed_job_and_its_records_know_its_tasks(sky, submit, tmp_path):
    ids, said = submit(SkyPilot(), CHAIN)
    paths = RunPaths(tmp_path / "runs" / "실험")
    assert ids == {"실험:sft": "17.0", "실험:merge_sft": "17.1"}
    (call,) = calls(sky)
    assert call[:5] == ["jobs", "launch", "--yes", "--detach-run", "--name"]
    assert call[6:] == ["--secret", "HF_TOKEN", str(paths.job_script("chain", "sky.yaml"))]
    found = {job.name: (job.job_id, job.after) for job in read_submitted(paths)}
    assert found == {"sft": ("17.0", ()), "merge_sft": ("17.1", ("17.0",))}
    assert said == ["실험: sft, merge_sft: submitted as 17.0, 17.1"]


def test_what_waits_for_another_pipeline_is_told_and_left_to_the_next_call(sky, submit, tmp_path):
    ids, said = submit(SkyPilot(), ARMS)
    assert ids == {"e/a:preprocess": "17.0"}
    assert len(calls(sky)) == 1
    assert [line for line in said if "wait for others" in line] == [
        f"{name}: wait for others; this same call submits them when those are over"
        for name in ("e/a: sft", "e/b: sft", "e: report")
    ]
    assert not RunPaths(tmp_path / "runs" / "e/b").jobs.exists()


def test_what_waits_for_a_job_under_way_is_left_too_and_what_is_over_holds_nobody_up(sky, submit):
    assert submit(SkyPilot(), ARMS[1:], known={"e/a:preprocess": "17.0"})[0] == {}
    assert submit(SkyPilot(), ARMS[1:])[0] == {"e/a:sft": "17.0", "e/b:sft": "18.0"}


def test_a_refusal_is_told_in_skypilots_words_and_what_was_launched_before_is_cancelled(sky, submit, tmp_path):
    (sky / "refuses").write_text("e/b", encoding="utf-8")
    with pytest.raises(ToolError) as refused:
        submit(SkyPilot(), ARMS[1:])
    assert "No infra is enabled. Run `sky check`." in refused.value.what
    assert "are cancelled" in refused.value.what
    assert calls(sky)[-1] == ["jobs", "cancel", "--yes", "17"]
    assert read_submitted(RunPaths(tmp_path / "runs" / "e/a")) == ()


def test_states_are_asked_once_for_all(sky):
    tasks = [
        {"job_id": 17, "task_id": 0, "status": "SUCCEEDED", "recovery_count": 0},
        {"job_id": 17, "task_id": 1, "status": "RECOVERING", "recovery_count": 2},
        {"job_id": 18, "task_id": 0, "status": "FAILED_NO_RESOURCE", "recovery_count": 0},
        {"job_id": 19, "task_id": 0, "status": "PENDING", "recovery_count": None},
    ]
    (sky / "queue.json").write_text(f"Starting the API server\n{json.dumps(tasks, indent=2)}\n", encoding="utf-8")
    assert SkyPilot().states(("17.0", "17.1", "18.0", "19.0", "20.0")) == {
        "17.0": JobState("done", "SUCCEEDED"),
        "17.1": JobState("requeued", "RECOVERING", restarts=2),
        "18.0": JobState("failed", "FAILED_NO_RESOURCE"),
        "19.0": JobState("queued", "PENDING"),
        "20.0": JobState("unknown"),
    }
    assert calls(sky) == [["jobs", "queue", "--all", "--output", "json"]]


def test_an_answer_that_is_none_is_an_error_in_words(sky):
    (sky / "queue.json").write_text("Internal server error", encoding="utf-8")
    with pytest.raises(ToolError, match="does not say how its jobs stand"):
        SkyPilot().states(("17.0",))


def test_where_nothing_looks_after_jobs_none_is_under_way(sky):
    (sky / "queue.json").write_text("sky.exceptions.ClusterNotUpError: No in-progress managed jobs.", encoding="utf-8")
    assert SkyPilot().states(("17.0",)) == {"17.0": JobState("unknown")}


def test_without_sky_it_is_said_what_to_do(monkeypatch, tmp_path, submit):
    monkeypatch.setenv("PATH", str(tmp_path))
    for ask in (SkyPilot().require, lambda: submit(SkyPilot(), CHAIN)):
        with pytest.raises(ToolError, match="there is no sky here"):
            ask()


def test_manifests_are_written_with_what_to_type_and_nothing_is_called(monkeypatch, submit, tmp_path):
    monkeypatch.setenv("PATH", "")
    ids, said = submit(Kubernetes(), ARMS)
    assert len(ids) == 4 and all(name.endswith(("/sft", "/preprocess", "/report")) for name in ids.values())
    first, *rest = said
    assert first == f"kubectl apply -f {tmp_path}/runs/e/a/jobs/preprocess.jobset.yaml"
    assert [line.split()[1] for line in rest] == ["wait", "apply", "wait", "apply", "wait", "wait", "apply"]
    assert rest[0].startswith(
        "kubectl wait --namespace nlp --for=condition=Completed --timeout=-1s jobset/alphaf-e-a-pre"
    )
    for run, name in (("e/a", "sft"), ("e/b", "sft"), ("e", "report")):
        paths = RunPaths(tmp_path / "runs" / run)
        assert paths.job_script(name, "jobset.yaml").is_file()
        assert ids[f"{run}:{name}"] in {job.job_id for job in read_submitted(paths)}
        assert f"value: {ids[f'{run}:{name}']}\n" in paths.job_script(name, "jobset.yaml").read_text(encoding="utf-8")


def test_jobs_on_kubernetes_are_taken_back_by_their_user():
    Kubernetes().cancel(())
    with pytest.raises(ToolError) as told:
        Kubernetes().cancel(("alphaf-e-sft/sft", "alphaf-e-sft/merge-sft"))
    assert told.value.fix == "kubectl delete jobset alphaf-e-sft"
