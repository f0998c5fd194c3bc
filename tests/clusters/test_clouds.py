"""SkyPilot's pipelines and JobSets, byte for byte, what of a profile is refused, and who is called for what."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from golden import recorded

from alphaf_orch.clusters.chain import chain_jobs, needs_of
from alphaf_orch.clusters.clouds.kubernetes import job_set_file, set_name
from alphaf_orch.clusters.clouds.pipelines import Pipeline, pipelines
from alphaf_orch.clusters.clouds.skypilot import pipeline_file, pipeline_name
from alphaf_orch.clusters.clouds.values import documents, label, limited, timed
from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.ablation.factors import make_ablation, read_factors
from alphaf_orch.experiments.experiment import ExperimentPaths
from alphaf_orch.experiments.jobs import last_of_all, plan_jobs
from alphaf_orch.experiments.lacking import arm_works
from alphaf_orch.experiments.submit import report_job
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.clusters import Profile
from alphaf_orch.settings.config import RunConfig, build_config

GOLDEN = Path(__file__).parents[1] / "golden" / "clouds"
ENV = {"ALPHAF_RUNS": "/mnt/alphaf/runs", "ALPHAF_CACHE": "/mnt/alphaf/cache", "HF_HOME": "/mnt/alphaf/hf"}
PLACE = Place("/opt/alphaf/bin/python", "/mnt/alphaf", ENV)
STAGES = {"data": {"cpus": 4, "memory": "16+"}, "tokenise": {"cpus": 8, "memory": "64+"},
          "train": {"cpus": 64, "memory": "512+", "time": "1-00:00:00"}, "merge": {"cpus": 8, "memory": "128+"},
          "eval": {"gpus": 1, "memory": "64+"}}  # fmt: skip
SKY = Profile(
    scheduler="skypilot",
    gpus_per_node=8,
    stages=STAGES,
    container={"runtime": "image", "image": "registry.example/alphaf:1", "python": "/opt/alphaf/bin/python"},
    env=("HF_TOKEN",),
    skypilot={"infra": "kubernetes", "accelerator": "H100", "volumes": {"/mnt/alphaf": "alphaf"}},
)
LIKE_KUBERNETES = {
    role: {key: value.replace("+", "Gi") if key == "memory" else value for key, value in said.items()}
    for role, said in STAGES.items()
}
KUBERNETES = Profile(
    scheduler="kubernetes",
    gpus_per_node=8,
    stages=LIKE_KUBERNETES,
    container={"runtime": "image", "image": "registry.example/alphaf:1", "python": "/opt/alphaf/bin/python"},
    env=("HF_TOKEN",),
    kubernetes={
        "namespace": "training", "env_from": "alphaf", "queue": "gpus", "limits": {"rdma/hca": "8"},
        "volumes": [{"claim": "alphaf", "path": "/mnt/alphaf"}],
        "tolerations": [{"taint": "nvidia.com/gpu", "effect": "NoSchedule"}],
    },
)  # fmt: skip


def chain(machine, tmp_path, nodes: int, run: str = "eeve") -> tuple[Job, ...]:
    config = RunConfig(model="eeve", gpus=8, nodes=nodes)
    plan = make_plan(config, machine, tmp_path / "runs" / "eeve", Scope(dry=True))
    return chain_jobs(plan, run, {stage.name for stage in plan.stages})


def ablation(machine, tmp_path, nodes: int) -> tuple[Job, ...]:
    """Four arms, two at a time: data and tokenised rows are one job, a training of SFT is one of two arms."""
    base = build_config({"model": "eeve", "gpus": 8, "nodes": nodes}, "a test")
    factors = read_factors(("lora_r=32,64", "dpo.beta=0.05,0.1"), alpha=None)
    experiment = make_ablation("비교", factors, base, seeds=1, until=None, request=EvalOptions(), asked={})
    paths = ExperimentPaths(tmp_path / "runs" / experiment.name)
    plans = {
        arm.name: make_plan(arm.config, machine, paths.arm(arm.name).root, Scope(experiment.sections, dry=True))
        for arm in experiment.arms
    }
    found = plan_jobs(arm_works(experiment, paths, plans), needs_of, parallel=2)
    return (*found.jobs, last_of_all(report_job(experiment, "ko"), found.jobs, ()))


def paths_of(run: str) -> RunPaths:
    return RunPaths(Path("/mnt/alphaf/runs") / run)


def texts(scheduler: str, jobs) -> dict[str, str]:
    """Every file by its name below the runs."""
    write, profile = {"skypilot": (pipeline_file, SKY), "kubernetes": (job_set_file, KUBERNETES)}[scheduler]
    files = [write(pipeline, profile, paths_of(pipeline.run), PLACE) for pipeline in pipelines(jobs)]
    return {str(path.relative_to("/mnt/alphaf/runs")): text for path, text in files}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("kind", ["chain", "ablation"])
@pytest.mark.parametrize("scheduler", ["skypilot", "kubernetes"])
def test_the_files_of_eeve_are_as_recorded(scheduler, kind, nodes, eight_gpus, tmp_path):
    jobs = {"chain": chain, "ablation": ablation}[kind](eight_gpus, tmp_path, nodes)
    found = "".join(f"#### {name}\n{text}" for name, text in texts(scheduler, jobs).items())
    assert found == recorded(GOLDEN / f"eeve-{nodes}x8-{kind}.{scheduler}.yaml", found)


def test_every_record_is_of_a_file():
    expected = {f"eeve-{nodes}x8-{kind}.{scheduler}.yaml" for nodes in (1, 2) for kind in ("chain", "ablation")
                for scheduler in ("skypilot", "kubernetes")}  # fmt: skip
    assert {path.name for path in GOLDEN.iterdir()} == expected


def waves(found: tuple[Pipeline, ...]) -> tuple[tuple[Pipeline, ...], ...]:
    """Return the pipelines by what may be handed over at once: the second ones wait for some of the first."""
    level: dict[str, int] = {}
    for pipeline in found:
        level[pipeline.key] = 1 + max((level[key] for key in pipeline.waits), default=-1)
    return tuple(tuple(p for p in found if level[p.key] == n) for n in sorted(set(level.values())))


def test_what_other_arms_wait_for_is_a_pipeline_of_its_own_and_the_report_comes_last(eight_gpus, tmp_path):
    jobs = ablation(eight_gpus, tmp_path, 1)
    found = pipelines(jobs)
    first, *_, last = waves(found)
    assert [job.name for pipeline in first for job in pipeline.jobs][:2] == ["data", "preprocess"]
    assert [pipeline.key for pipeline in last] == ["비교:report"]
    training = [[p for p in wave if any(job.needs.role == "train" for job in p.jobs)] for wave in waves(found)]
    assert max(map(len, training)) == 2  # of --parallel
    assert sorted(job.key for pipeline in found for job in pipeline.jobs) == sorted(job.key for job in jobs)
    over: set[str] = set()
    for wave in waves(found):
        for pipeline in wave:
            inside = {job.key for job in pipeline.jobs}
            assert {key for job in pipeline.jobs for key in job.after} <= over | inside
        over |= {job.key for pipeline in wave for job in pipeline.jobs}


def test_what_a_shared_job_needs_is_shared_with_it():
    jobs = (
        Job("e/a", "data", Needs("data"), "data"),
        Job("e/a", "sft", Needs("train", 8), "sft", after=("e/a:data",)),
        Job("e/b", "data", Needs("data"), "data", behind=("e/a:sft",)),
        Job("e/b", "preprocess", Needs("tokenise"), "preprocess", after=("e/b:data",)),
        Job("e/c", "sft", Needs("train", 8), "sft", after=("e/b:preprocess",), behind=("e/b:sft",)),
        Job("e/b", "sft", Needs("train", 8), "sft", after=("e/b:preprocess",), behind=("e/a:sft",)),
    )
    found = {pipeline.key: pipeline for pipeline in pipelines(jobs)}
    assert [job.name for job in found["e/b:shared"].jobs] == ["data", "preprocess"]
    assert found["e/b:shared"].waits == ("e/a:chain",)  # its lane
    assert found["e/b:sft"].waits == ("e/b:shared", "e/a:chain")
    assert found["e/c:sft"].waits == ("e/b:shared", "e/b:sft")


@pytest.mark.parametrize(
    "run", ["r", "a_b", "a-b", "A-B", "실험", "실험2", "e/a", "e-a", "9" * 70, "9" * 71, "e/" + "x" * 70]
)
def test_names_fit_and_keep_apart(run):
    others = {"r", "a_b", "a-b", "A-B", "실험", "실험2", "e/a", "e-a", "9" * 70, "9" * 71, "e/" + "x" * 70} - {run}
    for name, longest in ((pipeline_name, 100), (set_name, 30)):
        mine = name(Pipeline(run, "chain", ()))
        assert len(mine) <= longest
        assert mine.replace("-", "").isalnum() and mine.isascii() and mine == mine.lower() and mine[0].isalpha()
        assert mine[-1] != "-"
        assert mine not in {name(Pipeline(other, "chain", ())) for other in others}


@pytest.mark.parametrize(
    ("time", "expected"),
    [("90", 5400), ("12:00:00", 43200), ("30:15", 1815), ("2-00", 172800), ("2-12:30", 217800), ("1-00:00:01", 86401)],
)
def test_a_time_limit_is_read_as_slurm_reads_it(time, expected):
    assert limited(time, "") == expected


@pytest.mark.parametrize("time", ["", "0", "1h", "-5", "1:2:3:4", "infinite"])
def test_what_is_no_time_limit_is_refused(time):
    with pytest.raises(ConfigError, match="no time limit"):
        limited(time, "here")


def test_a_limit_that_leaves_no_time_before_the_checkpoint_is_refused():
    with pytest.raises(ConfigError, match="leaves nothing"):
        timed(("x",), "10", 600, "here")


AWKWARD = [
    "1e3",
    "12e45",
    "0x1f",
    "007",
    "1_000",
    "on",
    "No",
    "null",
    "~",
    "1:30",
    "a: b",
    "- a",
    "# a",
    "실험 'x'",
    '"',
    "",
]


def test_what_a_reader_could_take_for_another_thing_is_quoted():
    text = documents((), [{"values": AWKWARD, "line": "two\nlines\n"}])
    assert yaml.safe_load(text) == {"values": AWKWARD, "line": "two\nlines\n"}
    assert "- 1e3" not in text and '- "1e3"' in text  # a number to Kubernetes' reader, and none to PyYAML's


def with_sky(**changes) -> Profile:
    said = SKY.model_dump(exclude_unset=True)
    return Profile(**{**said, **{key: value for key, value in changes.items() if key != "skypilot"},
                      "skypilot": {**said["skypilot"], **changes.get("skypilot", {})}})  # fmt: skip


ONE = Job("eeve", "sft", Needs("train", 8), "sft")
PIPELINE = Pipeline("eeve", "sft", (ONE,))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"partition": "gpu", "modules": ("cuda",)}, "knows nothing of partition, modules"),
        ({"stages": {"train": {"qos": "high"}}}, "knows nothing of qos"),
        ({"container": {"runtime": "pyxis", "image": "x"}}, "knows nothing of container.runtime"),
        ({"skypilot": {"accelerator": None}}, "must be told which cards"),
        ({"skypilot": {"volumes": {"/mnt/other": "x"}}}, "would not see the run's folder, /mnt/alphaf/runs/eeve"),
        ({"skypilot": {"volumes": {"/mnt/alphaf/runs": "x"}}}, "would not see the folder to start in, /mnt/alphaf"),
    ],
)
def test_what_skypilot_could_not_do_is_refused(changes, said):
    with pytest.raises(ConfigError) as refused:
        pipeline_file(PIPELINE, with_sky(**changes), paths_of("eeve"), PLACE)
    assert said in refused.value.what


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"container": None}, "names none"),
        ({"kubernetes": {"volumes": [{"claim": "alphaf", "path": "/mnt/alphaf"}]}}, "no Secret has them"),
        ({"account": "nlp"}, "knows nothing of account"),
        ({"stages": {"train": {"memory": "512+"}}}, "no amount of memory"),
    ],
)
def test_what_kubernetes_could_not_do_is_refused(changes, said):
    profile = Profile(**{**KUBERNETES.model_dump(exclude_unset=True), **changes})
    with pytest.raises(ConfigError) as refused:
        job_set_file(PIPELINE, profile, paths_of("eeve"), PLACE)
    assert said in refused.value.what


def test_a_python_that_jobs_do_not_see_is_refused_without_an_image():
    with pytest.raises(ConfigError, match="would not see python, /home/u/env/bin/python"):
        place = Place("/home/u/env/bin/python", "/mnt/alphaf", ENV)
        pipeline_file(PIPELINE, with_sky(container=None), paths_of("eeve"), place)


def test_the_lock_is_installed_from_a_checkout_and_without_an_index_from_wheels():
    profile = with_sky(container=None, skypilot={"checkout": "/home/u/alphaf", "wheels": "/mnt/alphaf/my wheels"})
    _, text = pipeline_file(PIPELINE, profile, paths_of("eeve"), Place("/home/u/python", "/mnt/alphaf", ENV))
    task = list(yaml.safe_load_all(text))[1]
    assert task["workdir"] == "/home/u/alphaf"
    assert task["setup"] == (
        "export PIP_NO_INDEX=1 'PIP_FIND_LINKS=/mnt/alphaf/my wheels'\n"
        'VENV="$HOME"/alphaf-environment ACCEL=gpu sh requirements/setup.sh\n'
    )
    assert '85800 "$HOME"/alphaf-environment/bin/python -m alphaf_orch job eeve sft\n' in task["run"]
    assert "/home/u/python" not in text


def test_nothing_of_a_secret_but_its_name_is_in_a_file(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecretverysecret")
    for _, text in (pipeline_file(PIPELINE, SKY, paths_of("eeve"), PLACE),
                    job_set_file(PIPELINE, KUBERNETES, paths_of("eeve"), PLACE)):  # fmt: skip
        assert "HF_TOKEN" in text and "verysecret" not in text


STAND_IN = """#!{python}
import json, os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
names = ("ALPHAF_NODE_RANK", "ALPHAF_NODE_ADDRESS", "ALPHAF_JOB_ID")
with open("said.json", "w") as out:
    json.dump({{"argv": sys.argv[1:], "cwd": os.getcwd(), **{{name: os.environ.get(name) for name in names}}}}, out)
time.sleep(60 if "waits" in sys.argv else 0)
"""


@pytest.fixture
def awkward(tmp_path) -> Place:
    """A place whose folders have blanks, quotes and Korean, with a python that writes down how it was called."""
    folder = tmp_path / "실험 'a' \"b\" $HOME"
    folder.mkdir()
    python = folder / "my python"
    python.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    python.chmod(0o755)
    return Place(str(python), str(folder), {})


def _ran(argv, env) -> int:
    return subprocess.run(argv, env={**os.environ, **env}, timeout=30, check=False).returncode


def test_a_task_tells_alphaf_its_machine_and_asks_it_to_go_on_later(awkward):
    """The very lines that SkyPilot would run: 60 s of limit less 59 is a second, and 75 is handed on."""
    profile = with_sky(container=None, time="1", stages={}, stop_before=59, setup=("export BEFORE=1",),
                       skypilot={"volumes": {awkward.folder: "v"}})  # fmt: skip
    job = Job("실험 1/arm", "waits", Needs("train", 8), "sft")
    paths = RunPaths(Path(awkward.folder) / "runs")
    _, text = pipeline_file(Pipeline(job.run, "chain", (ONE, job)), profile, paths, awkward)
    run = list(yaml.safe_load_all(text))[2]["run"]
    env = {"SKYPILOT_NODE_RANK": "1", "SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.8", "SKYPILOT_MANAGED_JOB_ID": "17"}
    assert _ran(["bash", "-c", run], env) == 75
    said = yaml.safe_load((Path(awkward.folder) / "said.json").read_text(encoding="utf-8"))
    assert said == {
        "argv": ["-m", "alphaf_orch", "job", "실험 1/arm", "waits"], "cwd": awkward.folder,
        "ALPHAF_NODE_RANK": "1", "ALPHAF_NODE_ADDRESS": "10.0.0.7", "ALPHAF_JOB_ID": "17.1",
    }  # fmt: skip


def test_a_pod_calls_the_lines_of_setup_and_then_alphaf(awkward):
    profile = Profile(
        scheduler="kubernetes", container={"runtime": "image", "image": "i"}, setup=("cd '{}'".format("/"), "true"),
        kubernetes={"volumes": [{"claim": "c", "path": awkward.folder}]},
    )  # fmt: skip
    _, text = job_set_file(PIPELINE, profile, RunPaths(Path(awkward.folder) / "r"), awkward)
    pod = yaml.safe_load(text)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["command"][2] = container["command"][2].replace("cd '/'", f"cd {Path(awkward.folder).parent}")
    assert container["workingDir"] == awkward.folder
    assert _ran(container["command"], {}) == 0
    said = yaml.safe_load((Path(awkward.folder).parent / "said.json").read_text(encoding="utf-8"))
    assert said["argv"] == ["-m", "alphaf_orch", "job", "eeve", "sft"]


def test_label_makes_up_for_what_is_lost():
    assert label("a-b", 30) == "a-b"
    assert label("a_b", 30) != label("a.b", 30)
