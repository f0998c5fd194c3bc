"""How a stage stands that was handed to a scheduler: every combination of the four sources that can occur."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alphaf_orch.cli.job_view import requeue_lines
from alphaf_orch.clusters.reasons import FORGOTTEN, NEVER, NOT_HANDED
from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submitted import Event, Submitted
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs.look import _stage
from alphaf_orch.runs.standing import of_job, settled, standing

AT = "2026-01-02T10:00:{:02}+00:00".format
JOB = Submitted("run", "sft", "slurm", "12", stage="sft", at=AT(10))


def entry(state, begun=20, ended=None, job: str | None = "12", **more):
    found = {"state": state, "started": AT(begun), "ended": ended and AT(ended), **more}
    return found | ({"job": job} if job else {})


def event(what, at=15, restart=0, job="12", **more):
    return Event(what, AT(at), job, restart, "gpu-3", **more)


STARTED, BACK, AGAIN = event("started"), event("requeued", 30, why="time limit"), event("started", 50, 1)
WELL, ILL = event("ended", 40, exit_code=0), event("ended", 40, exit_code=7, why="sft exited with 1")
STOPPED = event("ended", 40, exit_code=130, why="sft was interrupted")


def stands(manifest, job, events, told):
    """Return how a stage stands, from all four sources."""
    return settled(manifest, standing(job, events, told), of_job(job, events))


def says(state, reason="", **more):
    return JobState(state, reason, **more)


ANEW = says("running", nodes="gpu-7", since=AT(45), restarts=1)
RUNS, WAITS, GONE = says("running", nodes="gpu-3"), says("queued", "Priority"), says("unknown")
WAITS_AGAIN, LATER = says("requeued", "Priority"), says("requeued", "BeginTime")
NODE, NO_MEMORY, TOO_LONG = (says("failed", why) for why in ("NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"))
PREEMPTED, BAD, BY_SOMEBODY = says("failed", "PREEMPTED"), says("failed", "exit code 7"), says("cancelled", "by user 7")
WORKS, CUT, HALTED = entry("running"), entry("interrupted", ended=29), entry("interrupted", ended=39)
FELL, MADE = entry("failed", ended=39), entry("done", ended=39)
BY_US = event("ended", 38, exit_code=130, why="cancelled by kim@login")
STOP_CODE = says("failed", "exit code 130", exit_code=130)
OLD = (event("started", 1, job="9"), event("ended", 5, job="9", exit_code=7))
# Manifest, events, the scheduler's answer (None: not heard); what the stage is, and why.
TABLE = {
    "queued, by reason": (None, (), WAITS, "queued", "Priority"),
    "waits for machines": (None, (), says("queued", "Resources"), "queued", "Resources"),
    "waits for another job": (None, (), says("queued", "Dependency"), "queued", "Dependency"),
    "asks for what no machine has": (None, (), says("queued", "BadConstraints"), "queued", "BadConstraints"),
    "held": (None, (), says("queued", "JobHeldUser"), "queued", "JobHeldUser"),
    "what it waits for failed, it is left in the queue": (None, (), says("queued", NEVER), "failed", NEVER),
    "what it waits for failed, it was removed": (None, (), says("cancelled", NEVER), "failed", NEVER),
    "and said so as a failure": (None, (), says("failed", NEVER), "failed", NEVER),
    "queued, the scheduler is silent": (None, (), None, "queued", ""),
    "cancelled before it began": (None, (), says("cancelled", "by user 1000"), "cancelled", "by user 1000"),
    "forgotten before it began": (None, (), GONE, "unknown", FORGOTTEN),
    "begins": (None, (), RUNS, "running", ""),
    "begins, alphaf plans": (None, (STARTED,), RUNS, "running", ""),
    "begins, the scheduler is silent": (None, (STARTED,), None, "running", ""),
    "began and is forgotten": (None, (STARTED,), GONE, "failed", FORGOTTEN),
    "refused by alphaf before the stage": (None, (STARTED, ILL), None, "failed", "exit code 7"),
    "and the scheduler says so": (None, (STARTED, ILL), BAD, "failed", "exit code 7"),
    "no machine started it": (None, (), says("failed", "LAUNCH_FAILED"), "failed", "LAUNCH_FAILED"),
    "module not found: alphaf never began": (None, (), says("failed", "exit code 1"), "failed", "exit code 1"),
    "its container is killed for memory": (None, (STARTED,), NO_MEMORY, "failed", "OUT_OF_MEMORY"),
    "done, and the manifest does not know": (None, (STARTED, WELL), says("done"), "unknown", ""),
    "works": (WORKS, (STARTED,), RUNS, "running", ""),
    "works, the scheduler is silent": (WORKS, (STARTED,), None, "running", ""),
    "killed with its node": (WORKS, (STARTED,), NODE, "failed", "NODE_FAIL"),
    "killed, and the scheduler forgot": (WORKS, (STARTED,), GONE, "failed", FORGOTTEN),
    "killed, sent back by Slurm": (WORKS, (STARTED,), LATER, "requeued", "BeginTime"),
    "the same, told as queued": (WORKS, (STARTED,), says("queued", "BeginTime"), "requeued", "BeginTime"),
    "killed at its limit": (WORKS, (STARTED,), TOO_LONG, "failed", "TIMEOUT"),
    "killed for memory by Slurm": (WORKS, (STARTED,), NO_MEMORY, "failed", "OUT_OF_MEMORY"),
    "preempted for good": (WORKS, (STARTED,), PREEMPTED, "failed", "PREEMPTED"),
    "killed by a person": (WORKS, (STARTED,), BY_SOMEBODY, "cancelled", "by user 7"),
    "the script ended well, the stage not": (WORKS, (STARTED,), says("done"), "failed", ""),
    "killed for memory by the kernel": (FELL, (STARTED, ILL), None, "failed", ""),
    "the same, Slurm knows": (FELL, (STARTED, ILL), NO_MEMORY, "failed", "OUT_OF_MEMORY"),
    "failed, the job says its end": (FELL, (STARTED,), RUNS, "failed", ""),
    "failed, forgotten": (FELL, (STARTED,), GONE, "failed", FORGOTTEN),
    "failed, sent back by hand": (FELL, (STARTED, ILL), WAITS_AGAIN, "requeued", "Priority"),
    "failed, and works again": (FELL, (STARTED, ILL, AGAIN), RUNS, "running", ""),
    "makes room": (CUT, (STARTED,), RUNS, "interrupted", ""),
    "sends itself back": (CUT, (STARTED, BACK), RUNS, "requeued", ""),
    "waits to go on": (CUT, (STARTED, BACK), WAITS_AGAIN, "requeued", "Priority"),
    "waits to go on, the scheduler is silent": (CUT, (STARTED, BACK), None, "requeued", ""),
    "goes on, alphaf plans": (CUT, (STARTED, BACK, AGAIN), RUNS, "running", ""),
    "stopped in order, and begins anew": (HALTED, (STARTED, STOPPED), ANEW, "running", ""),
    "killed with its node, begins elsewhere": (WORKS, (STARTED,), ANEW, "running", ""),
    "failed, sent back by hand, begins anew": (FELL, (STARTED, ILL), ANEW, "running", ""),
    "cancelled while it waited": (CUT, (STARTED, BACK), BY_SOMEBODY, "cancelled", "by user 7"),
    "forgotten while it waited": (CUT, (STARTED, BACK), GONE, "interrupted", FORGOTTEN),
    "stopped in order by scancel": (HALTED, (STARTED, STOPPED), BY_SOMEBODY, "cancelled", "by user 7"),
    "stopped in order, the scheduler is silent": (HALTED, (STARTED, STOPPED), None, "interrupted", ""),
    "stopped in order, no longer known": (HALTED, (STARTED, STOPPED), GONE, "interrupted", FORGOTTEN),
    "stopped in order, and sent back by Slurm": (HALTED, (STARTED, STOPPED), LATER, "requeued", "BeginTime"),
    "stopped in order, preempted": (HALTED, (STARTED, STOPPED), PREEMPTED, "failed", "PREEMPTED"),
    "stopped in order, at the limit": (HALTED, (STARTED, STOPPED), TOO_LONG, "failed", "TIMEOUT"),
    "sent back often enough": (CUT, (STARTED, BACK, AGAIN, ILL), None, "failed", "exit code 7"),
    "stopped in order, told as a failure": (HALTED, (STARTED, STOPPED), STOP_CODE, "interrupted", ""),
    "cancelled by alphaf while it waited": (None, (BY_US,), None, "cancelled", "by kim@login"),
    "the same, the scheduler says nobody": (None, (BY_US,), says("cancelled"), "cancelled", "by kim@login"),
    "the same, forgotten": (None, (BY_US,), GONE, "cancelled", "by kim@login"),
    "cancelled by alphaf, and says its end": (HALTED, (STARTED, BY_US), RUNS, "interrupted", ""),
    "cancelled by alphaf while it worked": (HALTED, (STARTED, BY_US, STOPPED), None, "cancelled", "by kim@login"),
    "done before it could be cancelled": (MADE, (STARTED, BY_US, WELL), says("done"), "done", ""),
    "done": (MADE, (STARTED, WELL), None, "done", ""),
    "done, the job says its end": (MADE, (STARTED,), RUNS, "done", ""),
    "done, the node died behind it": (MADE, (STARTED,), NODE, "done", ""),
    "done here after its job failed": (entry("done", 56, 58, job=None), (STARTED, ILL), BAD, "done", ""),
    "done here while its job waits": (entry("done", 56, 58, job=None), (), WAITS, "done", ""),
    "works here after its job failed": (entry("running", 56, job=None), (STARTED, ILL), None, "running", ""),
    "works here, its job is forgotten": (entry("running", 56, job=None), (STARTED,), GONE, "running", ""),
    "failed here, its job waits still": (entry("failed", 56, 58, job=None), (), WAITS, "queued", "Priority"),
    "failed before it was submitted": (entry("failed", 1, 5, job=None), (), WAITS, "queued", "Priority"),
    "failed before, in an older job": (entry("failed", 1, 5, job="9"), (), WAITS, "queued", "Priority"),
    "running before, in an older job that died": (entry("running", 1, job="9"), (), WAITS, "queued", "Priority"),
    "failed before, the new one cancelled": (entry("failed", 1, 5, job="9"), (), BY_SOMEBODY, "cancelled", "by user 7"),
    "done from other inputs, made anew": (entry("done", 1, 5, job="9"), (), WAITS, "queued", "Priority"),
    "done from other inputs, made anew in vain": (entry("done", 1, 5, job="9"), (STARTED, ILL), None, "done", ""),
    "nothing was to do any more": (entry("done", 1, 5, job="9"), (STARTED, WELL), None, "done", ""),
    "shared: made by another arm long ago": (entry("done", 1, 5, job="7"), (STARTED, WELL), says("done"), "done", ""),
    "what an older job wrote is not of this one": (None, OLD, WAITS, "queued", "Priority"),
    "nor where the scheduler is silent": (None, OLD, None, "queued", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_how_a_stage_stands(case):
    manifest, events, told, state, reason = TABLE[case]
    found = stands(manifest, JOB, events, told)
    assert (found.state, found.reason) == (state, reason)


@pytest.mark.parametrize("state", ["done", "running", "failed", "interrupted"])
def test_a_stage_without_a_job_is_as_the_manifest_has_it(state, tmp_path):
    assert _stage("sft", entry(state, job=None), RunPaths(tmp_path), None)["state"] == state


CUT_OFF = replace(JOB, job_id="")


@pytest.mark.parametrize(
    ("manifest", "events", "told", "state", "reason", "number"),
    [
        (None, (), None, "unknown", NOT_HANDED, ""),
        (None, (event("started", 1, job="9"),), None, "unknown", NOT_HANDED, ""),
        (None, (STARTED,), None, "running", "", "12"),
        (WORKS, (STARTED,), RUNS, "running", "", "12"),
        (None, (STARTED, ILL), None, "failed", "exit code 7", "12"),
        (MADE, (STARTED, WELL), None, "done", "", "12"),
    ],
)
def test_a_job_whose_submission_was_cut_off_is_known_by_what_it_wrote_itself(
    manifest, events, told, state, reason, number
):
    found = stands(manifest, CUT_OFF, events, told)
    assert (found.state, found.reason) == (state, reason)
    assert standing(CUT_OFF, events, told).job_id == number


def test_a_scheduler_without_numbers_in_the_environment_is_told_by_times():
    job = replace(JOB, scheduler="skypilot")
    assert stands(entry("running", job=None), job, (), says("failed", "NODE_FAIL")).state == "failed"
    assert stands(entry("running", 1, job=None), job, (), WAITS).state == "queued"


def test_a_job_that_was_done_before_it_could_be_cancelled_is_done():
    assert standing(JOB, (STARTED, BY_US, WELL), None).state == "done"
    assert standing(JOB, (STARTED, BY_US), says("done")).state == "done"


def test_where_a_job_runs_since_when_and_how_often_it_was_sent_back():
    found = standing(JOB, (STARTED, BACK, AGAIN), RUNS)
    assert (found.nodes, found.since, found.requeues, found.open) == ("gpu-3", AT(50), 1, True)
    found = standing(JOB, (STARTED, BACK), WAITS_AGAIN)
    assert (found.nodes, found.since, found.requeues) == ("", AT(30), 1)
    found = standing(JOB, (STARTED, ILL), None)
    assert (found.exit_code, found.why, found.open) == (7, "sft exited with 1", False)
    found = standing(JOB, (STARTED,), ANEW)
    assert (found.nodes, found.since) == ("gpu-7", AT(45)), "what it wrote down was before"
    found = standing(JOB, (STARTED,), says("requeued", restarts=2))
    assert found.requeues == 2, "Slurm sent it back, which it could not write down"


def test_a_job_that_was_to_go_back_and_did_not_was_not_requeued():
    """Slurm refused it (requeue=0), or it was cancelled meanwhile; both were seen to say `requeued 1x`."""
    refused = standing(JOB, (STARTED, BACK), says("failed", "exit code 75", exit_code=75))
    assert (refused.state, refused.requeues) == ("interrupted", 0)
    cancelled = standing(JOB, (STARTED, BY_US, BACK), says("cancelled", "by root"))
    assert (cancelled.state, cancelled.requeues) == ("cancelled", 0)
    (said,) = requeue_lines("sft", refused.state, [{"why": "the time limit of job 12", "checkpoint": "checkpoint-5"}])
    assert said.endswith("checkpoint-5 kept; it is not in the queue: the same command goes on")
    (said,) = requeue_lines("sft", "requeued", [{"why": "the time limit of job 12", "checkpoint": "checkpoint-5"}])
    assert said.startswith("sft: sent back to the queue")


def test_a_job_knows_its_number_without_the_cluster_that_sbatch_names():
    job = replace(JOB, job_id="12;north")
    assert standing(job, (STARTED, ILL), None).exit_code == 7
    assert stands(WORKS, job, (STARTED,), NODE).reason == "NODE_FAIL"
