"""Jobs handed over: in order, behind what they wait for, each with a file and a record; all of them, or none."""

import json
import threading

import pytest
from fake_scheduler import FakeScheduler

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.place import place_here
from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submit import live_jobs, submit_jobs
from alphaf_orch.clusters.submitted import Event, happened, note, read_submitted
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Container, Profile, Resources

SITE = Profile(scheduler="slurm", max_requeues=3, stages={"train": Resources(gpus=8)})
JOBS = (
    Job("r", "data", Needs("data"), "data"),
    Job("r", "sft", Needs("train", 1, 2), "sft", after=("r:data",), planned={"fingerprint": "f"}),
    Job("r", "report", Needs("report"), argv=("report", "r"), behind=("r:sft",)),
)


class Place:
    def __init__(self, folder):
        self.folder, self.scheduler, self.said = folder, FakeScheduler(), []

    def paths(self, run="r"):
        return RunPaths(self.folder / "실행 1" / run)

    def submit(self, jobs=JOBS, **options):
        return submit_jobs(
            jobs, SITE, self.scheduler, self.paths, place_here(SITE), self.said.append, on="slurm:x", **options
        )

    def records(self):
        return {job.name: job for job in read_submitted(self.paths())}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_jobs_are_handed_over_in_order_behind_what_they_wait_for(place):
    assert place.submit((JOBS[2], JOBS[1], JOBS[0])) == {"r:data": "101", "r:sft": "102", "r:report": "103"}
    handed = place.scheduler.handed
    assert [(each.job.name, each.after, each.behind) for each in handed.values()] == [
        ("data", (), ()),
        ("sft", ("101",), ()),
        ("report", (), ("102",)),
    ]
    assert place.said[1] == "sft: submitted as job 102, after 101"
    record = place.records()["sft"]
    assert (record.job_id, record.stage, record.role, record.profile) == ("102", "sft", "train", "slurm:x")
    assert (record.gpus, record.nodes, record.max_requeues, record.after) == (8, 2, 3, ("101",))
    assert record.planned == {"fingerprint": "f"}
    assert place.records()["report"].argv == ("report", "r")
    assert "@" in record.by


def test_a_record_is_there_before_its_job_is(place, monkeypatch):
    seen = []
    hand_over = place.scheduler.submit

    def submit(script, job, after, behind):
        seen.append(place.records()[job.name].job_id)
        return hand_over(script, job, after, behind)

    monkeypatch.setattr(place.scheduler, "submit", submit)
    place.submit()
    assert seen == ["", "", ""]


def test_what_was_handed_over_before_is_waited_for_and_what_is_over_is_not(place):
    job = Job("r", "dpo", Needs("train"), "dpo", after=("r:merge_sft", "r:data"))
    place.scheduler.handed["12"] = None
    place.submit((job,), known={"r:merge_sft": "12"})
    assert place.scheduler.handed["102"].after == ("12",)


def test_one_refused_in_the_middle_takes_back_the_others(place):
    place.submit(JOBS[:1])
    before = place.paths().job("data").read_text("utf-8")
    place.scheduler.refuses = 3
    with pytest.raises(ToolError) as caught:
        place.submit()
    assert "Invalid account" in caught.value.what
    assert "jobs 102, submitted before it, are cancelled" in caught.value.what
    assert place.scheduler.cancelled == [("102",)]
    assert place.paths().job("data").read_text("utf-8") == before
    assert set(place.records()) == {"data"}


def test_jobs_that_do_not_wait_for_each_other_are_handed_over_at_once_and_all_taken_back(place, monkeypatch):
    """A call of sbatch waits for its controller: arms side by side wait at the same time."""
    arms = tuple(Job("r", f"sft{number}", Needs("train"), "sft", after=("r:data",)) for number in range(3))
    meet, hand_over, one = threading.Barrier(3, timeout=30), place.scheduler.submit, threading.Lock()
    refused = threading.Event()

    def submit(script, job, after, behind):
        if job.stage == "sft":
            meet.wait()  # for ever, were they handed over one after the other
        if job.name == "sft0":
            refused.set()
            raise ToolError("no", where="", fix="", code="tool.x")
        assert job.stage != "sft" or refused.wait(30)  # these are taken behind the refusal
        with one:
            return hand_over(script, job, after, behind)

    monkeypatch.setattr(place.scheduler, "submit", submit)
    with pytest.raises(ToolError, match=r"jobs 101, 10[23], 10[23], submitted before it, are cancelled"):
        place.submit((JOBS[0], *arms))
    assert sorted(place.scheduler.cancelled[0]) == ["101", "102", "103"]
    assert place.records() == {}


def test_what_could_not_be_taken_back_is_named(place, monkeypatch):
    def refuse(_ids):
        raise ToolError("scancel: no", where="scancel", fix="", code="tool.x")

    place.scheduler.refuses = 2
    monkeypatch.setattr(place.scheduler, "cancel", refuse)
    with pytest.raises(ToolError, match=r"jobs 101, submitted before it, could not be cancelled \(scancel: no\)"):
        place.submit()


def test_an_interrupt_takes_back_too(place, monkeypatch):
    hand_over = place.scheduler.submit

    def submit(script, job, after, behind):
        if job.name == "sft":
            raise KeyboardInterrupt
        return hand_over(script, job, after, behind)

    monkeypatch.setattr(place.scheduler, "submit", submit)
    with pytest.raises(KeyboardInterrupt):
        place.submit()
    assert place.scheduler.cancelled == [("101",)]
    assert place.records() == {}


def lost_answer(place, monkeypatch, error, *, silent=False):
    """Submit, the second job taken by the scheduler, whose answer is lost and which, `silent`, says nothing more."""
    hand_over = place.scheduler.submit

    def submit(script, job, after, behind):
        number = hand_over(script, job, after, behind)
        if job.name == "sft":
            place.scheduler.silent = silent
            raise error
        return number

    monkeypatch.setattr(place.scheduler, "submit", submit)
    with pytest.raises(type(error)) as caught:
        place.submit()
    place.scheduler.silent = False
    return caught.value


NO_ANSWER = ToolError("Slurm did not answer within 60 seconds", where="", fix="", code="tool.x")


@pytest.mark.parametrize("error", [NO_ANSWER, KeyboardInterrupt()], ids=["silence", "interrupt"])
def test_a_job_whose_answer_was_lost_is_taken_back_too(place, monkeypatch, error):
    lost_answer(place, monkeypatch, error)
    assert place.scheduler.cancelled == [("101", "102")]
    assert place.records() == {}


@pytest.mark.parametrize("error", [NO_ANSWER, KeyboardInterrupt()], ids=["silence", "interrupt"])
def test_a_job_that_may_have_been_taken_is_found_again_by_its_file(place, monkeypatch, error):
    told = lost_answer(place, monkeypatch, error, silent=True)
    assert isinstance(told, KeyboardInterrupt) or "sft may be queued all the same" in told.what
    assert {name: job.job_id for name, job in place.records().items()} == {"sft": ""}
    found = live_jobs([place.paths()], place.scheduler)
    assert {key: live.record.job_id for key, live in found.items()} == {"r:sft": "102"}
    assert place.records()["sft"].job_id == "102", "from now on everybody knows it"


def test_a_job_that_was_never_handed_over_is_none(place):
    place.submit(JOBS[:1])
    file = place.paths().job("data")
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "job_id": ""}), "utf-8")
    place.scheduler.told["101"] = JobState("cancelled")
    assert live_jobs([place.paths()], place.scheduler) == {}
    assert place.records()["data"].job_id == ""


def test_a_script_that_cannot_be_made_leaves_nothing(place, monkeypatch):
    make = place.scheduler.script

    def script(job, *about):
        if job.name == "report":
            raise ToolError("no", where="", fix="", code="tool.x")
        return make(job, *about)

    monkeypatch.setattr(place.scheduler, "script", script)
    with pytest.raises(ToolError):
        place.submit()
    assert not place.paths().root.exists()
    assert place.scheduler.handed == {}


def test_live_jobs_are_asked_for_in_one_call_and_those_that_ended_are_not(place):
    place.submit()
    other = RunPaths(place.folder / "실행 1" / "s")
    submit_jobs(
        (Job("s", "data", Needs("data"), "data"),), SITE, place.scheduler, lambda _: other, place_here(SITE), print
    )
    note(place.paths(), "data", Event("ended", "2026-01-01T00:00:00+00:00", "101", exit_code=0))
    note(place.paths(), "sft", Event("ended", "2026-01-01T00:00:00+00:00", "99", exit_code=0))  # of an earlier job
    place.scheduler.told["103"] = JobState("cancelled")
    place.scheduler.begin("102", "gpu-7")
    found = live_jobs([place.paths(), other], place.scheduler)
    assert {key: live.record.job_id for key, live in found.items()} == {"r:sft": "102", "s:data": "104"}
    assert place.scheduler.asked == [("103", "102", "104")]
    assert str(found["r:sft"]) == "job 102, running on gpu-7"
    assert str(found["s:data"]) == "job 104, queued (Priority)"


def test_nobody_is_asked_where_nothing_is_open(place):
    assert live_jobs([place.paths()], place.scheduler) == {}
    assert place.scheduler.asked == []


def test_a_job_on_a_named_cluster_ends_by_its_number(place, monkeypatch):
    place.submit(JOBS[:1])
    file = place.paths().job("data")
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "job_id": "101;west"}), "utf-8")
    monkeypatch.setenv("SLURM_JOB_ID", "101")
    note(place.paths(), "data", happened("ended", exit_code=0))
    assert live_jobs([place.paths()], place.scheduler) == {}


def test_a_job_finds_the_folders_and_no_secret(monkeypatch, tmp_path):
    (tmp_path / "h f").mkdir()
    for name, value in {
        "HF_HOME": str(tmp_path / "h f"),
        "HF_TOKEN": "hf_" + "x" * 30,
        "WANDB_API_KEY": "0" * 40,
        "NCCL_SOCKET_IFNAME": "ib0",
        "PYTHONPATH": "/lib/x",
        "SECRET_OF_MINE": "/h",
        "AWS_PROFILE": "a",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    found = place_here(SITE)
    assert found.folder == str(tmp_path)
    assert {"HF_HOME", "NCCL_SOCKET_IFNAME", "PYTHONPATH", "PATH", "ALPHAF_RUNS", "ALPHAF_CACHE"} <= set(found.env)
    assert not {"HF_TOKEN", "WANDB_API_KEY", "SECRET_OF_MINE", "AWS_PROFILE"} & set(found.env)
    inside = place_here(SITE.model_copy(update={"container": Container(runtime="pyxis", image="x")}))
    assert inside.python == "python3"
    assert not {"PATH", "PYTHONPATH"} & set(inside.env)


def test_folders_said_relative_are_where_they_were(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALPHAF_RUNS", raising=False)
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("ALPHAF_TEMPLATES", "t")
    env = place_here(SITE).env
    assert (env["ALPHAF_RUNS"], env["ALPHAF_TEMPLATES"]) == (str(tmp_path / "runs"), str(tmp_path / "t"))


def test_the_hubs_folder_is_said_where_it_is_there(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert "HF_HOME" not in place_here(SITE).env
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    assert place_here(SITE).env["HF_HOME"] == str(tmp_path / ".cache" / "huggingface")
