"""A chain through a real Slurm, its tools stand-ins: each stage a job, each job behind the one before."""

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
    """Return a function that submits the chain of the tiny model with the stand-ins."""

    def call(*args, run="r", code=0, env=None):
        words = ("run", "--model", "tiny", "--run", run, "--config", str(fake.config), *cluster.on, *args)
        return cluster.alphaf(*words, code=code, env=env)

    return call


def folder(name="r"):
    return Path(os.environ["ALPHAF_RUNS"]) / name


def manifest(name="r"):
    return json.loads((folder(name) / "manifest.json").read_text("utf-8"))["stages"]


def events(job, name="r"):
    file = folder(name) / "jobs" / f"{job}.events.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


def began(fake, stage, times=1):
    until(lambda: fake.calls().count(stage) >= times, f"{stage} began {times} times")


def trained(fake, stage):
    """Wait until the stand-in for a trainer has written what it writes before it hangs."""
    until(
        lambda: (
            (folder() / "logs" / f"{stage}.log").is_file()
            and "hanging" in (folder() / "logs" / f"{stage}.log").read_text()
        ),
        f"{stage} trains",
    )


def test_a_chain_is_jobs_that_follow_each_other_and_a_second_call_submits_nothing(cluster, fake, submit):
    said = submit()
    assert [line.split(":")[0] for line in said.splitlines() if "submitted as job" in line] == [*CHAIN]
    states = cluster.wait()
    assert states == dict.fromkeys((f"r:{name}" for name in CHAIN), "COMPLETED"), cluster.outputs()
    assert {name: entry["state"] for name, entry in manifest().items()} == dict.fromkeys(("base_model", *CHAIN), "done")
    for name in CHAIN:
        assert [(event["event"], event.get("exit_code")) for event in events(name)] == [("started", None), ("ended", 0)]
    before = fake.calls()
    said = submit()
    assert "submitted as job" not in said
    assert fake.calls() == before


def test_a_run_that_is_queued_is_not_submitted_again(cluster, fake, submit):
    fake.behave(sft="hang")
    submit()
    trained(fake, "sft")
    said = submit()
    assert "submitted as job" not in said, said
    assert len(cluster.jobs()) == len(CHAIN)


def test_blanks_quotes_percent_signs_and_hangul_in_paths_and_names(cluster, fake, submit, tmp_path, monkeypatch):
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path / "내 실행 %j '$x' \"y\""))
    submit(run="금융-1")
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    assert (folder("금융-1") / "jobs" / "sft.out").is_file()
    assert manifest("금융-1")["merge_dpo"]["state"] == "done"


def test_a_stage_that_fails_leaves_the_rest_unstarted_and_says_so(cluster, fake, submit):
    fake.behave(sft="fail")
    submit()
    states = cluster.wait()
    assert [states[f"r:{name}"] for name in CHAIN] == ["COMPLETED", "COMPLETED", "FAILED", *["CANCELLED"] * 4]
    assert "dpo" not in fake.calls()
    shown = cluster.alphaf("show", "r")
    assert "the GPU fell off the bus" in shown
    assert "DependencyNeverSatisfied" in shown or "never" in shown, shown
    fake.behave()
    said = submit()
    assert [line.split(":")[0] for line in said.splitlines() if "submitted as job" in line] == [*CHAIN[2:]]
    assert manifest_done(cluster)


def manifest_done(cluster):
    cluster.wait()
    return all(entry["state"] == "done" for entry in manifest().values())


def test_scancel_leaves_a_run_that_the_same_command_goes_on_with(cluster, fake, submit):
    fake.behave(sft="hang")
    submit()
    trained(fake, "sft")
    cluster.call("scancel", "--name=r:sft")
    states = cluster.wait()
    assert states["r:sft"] == "CANCELLED", states
    until(lambda: manifest()["sft"]["state"] == "interrupted", "alphaf has written down that it was interrupted")
    assert [event["event"] for event in events("sft")] == ["started", "ended"]
    fake.behave()
    submit()
    assert manifest_done(cluster), cluster.outputs()
    assert any(word.startswith("--resume_from_checkpoint=") for word in fake.argv("sft")), fake.argv("sft")


def test_a_machine_that_goes_down_gives_its_job_to_another_one(cluster, fake, submit):
    fake.behave(sft="hang")
    submit()
    trained(fake, "sft")
    (node,) = {event["nodes"] for event in events("sft")}
    fake.behave()
    cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    assert manifest_done(cluster), cluster.outputs()
    started = [event for event in events("sft") if event["event"] == "started"]
    assert [event.get("restart", 0) for event in started] == [0, 1]
    assert started[1]["nodes"] != node
    assert any(word.startswith("--resume_from_checkpoint=") for word in fake.argv("sft")), fake.argv("sft")


def test_a_job_that_makes_room_is_queued_again_and_goes_on(cluster, fake, submit):
    cluster.profile(env=["FAKE_TOOL", "OMP_NUM_THREADS"], cpus=1, time="10", max_requeues=3)
    fake.behave(sft="hang")
    submit()
    trained(fake, "sft")
    fake.behave()
    number = json.loads((folder() / "jobs" / "sft.json").read_text())["job_id"]
    cluster.call("scancel", "--batch", "--signal=USR1", number)  # as Slurm does before the limit, to the script alone
    assert manifest_done(cluster), cluster.outputs()
    assert [event["event"] for event in events("sft")] == ["started", "requeued", "started", "ended"]
    assert manifest()["sft"]["requeues"]
    assert any(word.startswith("--resume_from_checkpoint=") for word in fake.argv("sft")), fake.argv("sft")


def test_where_there_is_no_sbatch_that_is_said(cluster, fake, submit, tmp_path):
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
    cluster.wait()
    assert set(cluster.jobs().values()) == {"CANCELLED"}, cluster.jobs()
