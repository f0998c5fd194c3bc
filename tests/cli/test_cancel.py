"""What `alphaf cancel` ends at a scheduler, and whom it waits for on other machines."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_scheduler import FakeScheduler, stand_in

from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submitted import Event, Submitted, note, read_events, read_submitted, write_submitted
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.holder import Holder
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs import cancel


@pytest.fixture
def slurm(monkeypatch):
    made = FakeScheduler()
    for number, state in (("101", "running"), ("102", "queued"), ("103", "done"), ("104", "queued")):
        made.told[number] = JobState(state, nodes="gpu-1" if state == "running" else "")
    return stand_in(monkeypatch, made)


def submitted(run, name, number):
    paths = RunPaths(Path(os.environ["ALPHAF_RUNS"]) / run)
    write_submitted(paths, Submitted(run=run, name=name, scheduler="slurm", job_id=number, at="2026-01-01T00:00:00"))
    return paths


@pytest.fixture
def experiment(slurm):
    """An experiment of two arms: one trains, its merge and the report wait, the other's training is done."""
    paths = RunPaths(Path(os.environ["ALPHAF_RUNS"]) / "비교")
    paths.root.mkdir(parents=True)
    paths.experiment.write_text("{}")
    one, two = submitted("비교/a", "sft", "101"), submitted("비교/b", "sft", "103")
    submitted("비교/a", "merge_sft", "102")
    submitted("비교", "report", "104")
    submitted("비교/b", "data", "100")
    note(two, "data", Event("ended", "2026-01-01T00:00:00", "100", exit_code=0))
    return one


def test_all_jobs_of_an_experiment_that_have_not_ended_are_ended_in_one_call(alphaf, slurm, experiment):
    done = alphaf("cancel", "비교")
    assert done.exit_code == 0, done.output
    assert [set(ids) for ids in slurm.cancelled] == [{"101", "102", "104"}]
    assert len(slurm.asked) == 1
    assert "100" not in slurm.asked[0], "it wrote down that it ended"
    assert "cancelled: 비교/a sft: job 101, running on gpu-1" in done.stdout
    assert "cancelled: 비교 report: job 104, queued" in done.stdout
    last = read_events(experiment, "merge_sft")[-1]
    assert last.why.startswith("cancelled by alphaf cancel of ")
    assert last.exit_code == 130, "none would pass for a good end once the scheduler has forgotten it"
    again = alphaf("cancel", "비교")
    assert "비교: nothing to cancel" in again.stdout
    assert len(slurm.cancelled) == 1


def test_a_job_that_is_submitted_anew_meanwhile_is_noted_as_cancelled_all_the_same(alphaf, slurm, experiment):
    """Its record was looked for again by what it said before, and was another one by then."""
    cancel_all = slurm.cancel

    def cancelled(ids):
        cancel_all(ids)
        submitted("비교/a", "merge_sft", "105")

    slurm.cancel = cancelled
    done = alphaf("cancel", "비교/a")
    assert done.exit_code == 0, done.output
    assert [(event.job_id, event.why[:12]) for event in read_events(experiment, "merge_sft")] == [
        ("102", "cancelled by")
    ]


def test_an_arm_alone_is_cancelled(alphaf, slurm, experiment):
    assert alphaf("cancel", "비교/a").exit_code == 0
    assert [set(ids) for ids in slurm.cancelled] == [{"101", "102"}]


def test_who_holds_the_run_as_one_of_those_jobs_is_left_to_the_scheduler(alphaf, slurm, experiment):
    experiment.lock.write_bytes(Holder(7, "gpu-1", "b", "s", 1, "Slurm job 101").written())
    done = alphaf("cancel", "비교/a")
    assert done.exit_code == 0, done.output
    assert "asked to stop" not in done.output
    assert not experiment.stop_wish.exists()


def test_a_scheduler_that_is_silent_is_told_once_those_here_are_stopped(alphaf, slurm, experiment, monkeypatch):
    monkeypatch.setattr(cancel, "SILENT_S", 0.5)
    monkeypatch.setattr(cancel, "_POLL_S", 0.1)
    slurm.silent = True
    experiment.lock.write_bytes(Holder(7, "다른-기계", "b", "s", 1).written())  # dead: it gives no sign of life
    done = alphaf("cancel", "비교/a")
    assert done.exit_code == 9
    assert "asked to stop: 비교/a: process 7, on host 다른-기계" in done.stdout
    assert "slurm does not answer" in done.stderr


def test_one_that_does_not_stop_is_named_with_what_may_be_done(alphaf, slurm, experiment, monkeypatch):
    monkeypatch.setattr(cancel, "_WAIT_S", 0.3)
    monkeypatch.setattr(cancel, "_POLL_S", 0.1)
    experiment.lock.write_bytes(Holder(7, "다른-기계", "b", "s", 1).written())
    done = alphaf("cancel", "비교/a")
    assert done.exit_code == 6
    assert "still at work after 0 s: process 7, on host 다른-기계" in done.stderr
    assert "kill" not in done.stderr, "that number is of another machine"
    assert experiment.stop_wish.exists(), "it may stop yet"


def test_a_run_that_is_not_there_is_no_success(alphaf):
    done = alphaf("cancel", "없음")
    assert done.exit_code == 6
    assert "there is no run 없음" in done.stderr


def test_jobs_of_somebody_else_are_said_to_be_his_and_so_is_the_folder(alphaf, slurm, experiment, monkeypatch):
    """scancel refuses, and what the job asks for, a file in the run, cannot be written either."""

    def denied(ids):
        raise ToolError(
            "Slurm did not cancel every job: Access/permission denied",
            where="scancel",
            fix="squeue --me",
            code="tool.x",
        )

    write_submitted(experiment, replace(read_submitted(experiment)[0], by="kim@login-1"))
    experiment.lock.write_bytes(Holder(7, "gpu-1", "b", "s", 1, "Slurm job 101").written())
    slurm.cancel = denied
    monkeypatch.setattr(cancel.os, "access", lambda path, mode: False)
    done = alphaf("cancel", "비교/a")
    assert done.exit_code == 6, done.output
    assert "warning: Slurm did not cancel every job: Access/permission denied" in done.stderr
    assert "you may not write into its folder" in done.stderr
    assert not experiment.stop_wish.exists()
    experiment.lock.unlink()
    alone = alphaf("cancel", "비교/a")
    assert alone.exit_code == 9
    assert "jobs of kim@login-1 are cancelled by whoever submitted them" in alone.stderr
