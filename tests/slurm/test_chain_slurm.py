"""Runs through a real Slurm, their tools stand-ins: each stage a job, and all that may happen to one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from cluster import until

CHAIN = ("data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo")


@pytest.fixture
def submit(cluster, fake):
    """Return a function that submits the chain of the tiny model with the stand-ins, or a part of it."""

    def call(command="run", *args, run="r", code=0, env=None):
        words = (command, "--model", "tiny", "--run", run, "--config", str(fake.config), *cluster.on, *args)
        return cluster.alphaf(*words, code=code, env=env)

    return call


@pytest.fixture
def sft(alphaf, fake, submit):
    """Return a function that submits SFT and its merge, of a run whose data were prepared here."""
    fake.behave(sft="no_output")
    here = alphaf("sft", "--model", "tiny", "--run", "r", "--config", str(fake.config))
    assert here.exit_code == 7, here.output
    fake.behave()
    fake.forget()
    return lambda: submit("sft")


def folder(name="r"):
    return Path(os.environ["ALPHAF_RUNS"]) / name


def manifest(name="r"):
    return json.loads((folder(name) / "manifest.json").read_text("utf-8"))["stages"]


def events(job, name="r"):
    file = folder(name) / "jobs" / f"{job}.events.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def submitted(said):
    return [line.split(":")[0] for line in said.splitlines() if "submitted as job" in line]


def hangs(log="sft"):
    """Wait until the stand-in for the trainer has left its first checkpoint and does nothing more."""
    file = folder() / "logs" / f"{log}.log"
    until(lambda: file.is_file() and "hanging" in file.read_text("utf-8"), f"{log} trains")


def resumed(fake):
    return any(word.startswith("--resume_from_checkpoint=") for word in fake.argv("sft"))


def test_a_chain_is_jobs_that_follow_each_other_whatever_its_folder_is_called(
    cluster, fake, submit, tmp_path, monkeypatch
):
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path / "내 실행 %j '$x' \"y\""))
    assert submitted(submit(run="금융-1")) == [*CHAIN]
    states = cluster.wait()
    assert states == dict.fromkeys((f"금융-1:{name}" for name in CHAIN), "COMPLETED"), cluster.outputs()
    stages = manifest("금융-1")
    assert {name: entry["state"] for name, entry in stages.items()} == dict.fromkeys(("base_model", *CHAIN), "done")
    for name in CHAIN:
        found = [(event["event"], event.get("exit_code")) for event in events(name, "금융-1")]
        assert found == [("started", None), ("ended", 0)]
        assert (folder("금융-1") / "jobs" / f"{name}.out").is_file()
    before = fake.calls()
    assert not submitted(submit(run="금융-1"))
    assert fake.calls() == before


def test_what_is_queued_is_not_submitted_again_and_show_says_where_it_is(cluster, fake, sft):
    fake.behave(sft="hang")
    sft()
    hangs()
    assert not submitted(sft())
    assert len(cluster.jobs()) == 2
    number = cluster.ids()["r:sft"]
    (node,) = {event["nodes"] for event in events("sft")}
    shown = cluster.alphaf("show", "r", env={"COLUMNS": "200"})
    assert number in shown and node in shown, shown
    waiting = json.loads(cluster.alphaf("show", "r", "--json"))
    assert "Dependency" in json.dumps(waiting), waiting


def test_a_stage_that_fails_leaves_the_rest_unstarted_and_says_so(cluster, fake, sft):
    fake.behave(sft="fail")
    sft()
    assert cluster.wait() == {"r:sft": "FAILED", "r:merge_sft": "CANCELLED"}
    assert "merge_sft" not in fake.calls()
    shown = cluster.alphaf("show", "r", env={"COLUMNS": "200"})
    assert "the GPU fell off the bus" in shown
    assert "DependencyNeverSatisfied" in shown, shown
    fake.behave()
    assert submitted(sft()) == ["sft", "merge_sft"]
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    assert manifest()["merge_sft"]["state"] == "done"


def test_scancel_leaves_a_run_that_the_same_command_goes_on_with(cluster, fake, sft):
    fake.behave(sft="hang")
    sft()
    hangs()
    cluster.call("scancel", "--name=r:sft")
    assert cluster.wait() == {"r:sft": "CANCELLED", "r:merge_sft": "CANCELLED"}
    until(lambda: manifest()["sft"]["state"] == "interrupted", "alphaf has written down that it was interrupted")
    assert [event["event"] for event in events("sft")] == ["started", "ended"]
    fake.behave()
    sft()
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    assert resumed(fake)
    assert manifest()["merge_sft"]["state"] == "done"


def test_a_machine_that_goes_down_gives_its_job_to_another_one(cluster, fake, sft):
    fake.behave(sft="hang")
    sft()
    hangs()
    (node,) = {event["nodes"] for event in events("sft")}
    fake.behave()
    cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    started = [event for event in events("sft") if event["event"] == "started"]
    assert [event.get("restart", 0) for event in started] == [0, 1]
    assert started[1]["nodes"] != node
    assert resumed(fake)
    (requeue,) = manifest()["sft"]["requeues"]
    assert requeue["checkpoint"] == "checkpoint-5", requeue


def test_a_job_is_sent_back_to_the_queue_as_often_as_the_profile_says_and_no_more(cluster, fake, sft):
    """The signal is the one that Slurm sends before the limit (test_limit_slurm.py waits for it)."""
    cluster.profile(env=["FAKE_TOOL", "OMP_NUM_THREADS"], cpus=1, max_requeues=1)
    fake.behave(sft="hang")
    sft()
    for count in (1, 2):
        until(lambda wanted=count: fake.calls().count("sft") == wanted, f"training {count} has begun")
        cluster.call("scancel", "--batch", "--signal=USR1", cluster.ids()["r:sft"])
    assert cluster.wait() == {"r:sft": "FAILED", "r:merge_sft": "CANCELLED"}, cluster.outputs()
    assert [event["event"] for event in events("sft")] == ["started", "requeued", "started", "ended"]
    assert "max_requeues" in cluster.outputs()
    assert not list(folder().glob(".stop.*"))
    fake.behave()
    sft()
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    assert resumed(fake)


def test_a_job_that_is_preempted_with_a_grace_time_goes_on_behind_whoever_came_first(cluster, fake, sft):
    """Slurm tells it by SIGTERM, and would take its end for a failure: it puts back what it had to kill alone."""
    fake.behave(sft="hang")
    sft()
    hangs()
    fake.behave()
    cluster.call("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    assert [event.get("restart", 0) for event in events("sft") if event["event"] == "started"] == [0, 1]
    assert resumed(fake)
    assert manifest()["sft"]["requeues"]


def test_where_there_is_no_sbatch_that_is_said(fake, submit, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    for tool in ("sh", "git"):
        (empty / tool).symlink_to(shutil.which(tool))
    said = submit(code=9, env={"PATH": str(empty)})
    assert "there is no sbatch here" in said, said
    assert not list(folder().glob("jobs/*.json"))


def test_what_slurm_refuses_is_told_in_its_words_and_nothing_stays_queued(cluster, fake, submit):
    cluster.profile(env=["FAKE_TOOL"], stages={"train": {"partition": "nosuch"}})
    said = submit(code=9)
    assert "invalid partition specified: nosuch" in said
    assert set(cluster.wait().values()) <= {"CANCELLED"}
    assert not list(folder().glob("jobs/*.json"))
