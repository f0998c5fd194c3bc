"""How a stage stands that was handed to a scheduler, settled from all that is known of it: pure, no file is read.

Four sources: the stage's entry in the manifest, the record of its job, what the job wrote down of itself, and what the
scheduler says. None of them is enough: a job that is killed writes nothing down, and a scheduler forgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from alphaf_orch.clusters.reasons import FORGOTTEN, NEVER, NOT_HANDED
from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submitted import Event, Submitted, bare, cancelled_by, newest
from alphaf_orch.core.errors import GoesOnLater, Interrupted

# Of a job, and of a stage that has one; a manifest says done, running, failed and interrupted.
State = Literal["done", "running", "queued", "requeued", "failed", "cancelled", "interrupted", "unknown"]
OPEN: tuple[State, ...] = ("running", "queued", "requeued")
_STOPPED = (Interrupted.exit_code, GoesOnLater.exit_code)
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """How a job stands: `reason` is the scheduler's word (why it waits, how it failed), `why` is ours for people."""

    job: Submitted
    job_id: str  # that it was given, or wrote down of itself where whoever submitted it was killed meanwhile
    state: State
    reason: str = ""
    why: str = ""
    nodes: str = ""
    since: str = ""
    requeues: int = 0
    exit_code: int | None = None
    heard: bool = False  # whether the scheduler was, since the job last wrote something down
    anew: bool = False  # whether it was started again since: alphaf is about to say so

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return self.state in OPEN

    @property
    def doubtful(self) -> bool:
        """Whether it wrote down that it was stopped, and the scheduler may have queued it again since, unasked.

        That is what Slurm does where a machine fails or a job with more rights takes its place.
        """
        return self.state == "interrupted" and not self.heard and bool(self.job_id)


@dataclass(frozen=True)
class Settled:
    """How a stage stands; `reason` and `why` as of a job, where the stage has come to that by its job."""

    state: str
    reason: str = ""
    why: str = ""


def of_job(job: Submitted, events: Sequence[Event]) -> tuple[Event, ...]:
    """Return those events that are of this job and not of an earlier one of its name."""
    ids = {bare(job.job_id)} if job.job_id else {event.job_id for event in events if event.at >= job.at}
    return tuple(event for event in events if event.job_id in ids or (not event.job_id and event.at >= job.at))


def standing(job: Submitted, events: Sequence[Event], told: JobState | None) -> Standing:
    """Return how a job stands; `told` is None where the scheduler was not asked or did not answer."""
    own = of_job(job, events)
    last = newest(own)
    requeues = max([event.restart for event in own] + [told.restarts if told else 0])
    known = Standing(
        job,
        job.job_id or (last.job_id if last else ""),
        "queued",
        nodes=next((event.nodes for event in reversed(own) if event.nodes), ""),
        since=last.at if last else job.at,
        requeues=requeues,
        exit_code=last.exit_code if last and last.event == "ended" else None,
        heard=told is not None,
        anew=bool(told and last and told.state == "running" and told.restarts > last.restart),
    )
    if told and told.state != "unknown":
        found = _by_scheduler(known, last, told)
        end = not found.open
    else:
        found = _by_itself(known, last, forgotten=told is not None)
        end = True  # whoever cancelled it had the scheduler's word
    if last and last.event == "requeued" and found.open:  # else it was to go back, and did not: cancelled, refused
        found = replace(found, requeues=max(requeues, last.restart + 1))
    notes = [event for event in own if cancelled_by(event)]  # a job that ran adds its own end behind it
    if not notes or not end or found.state == "done":
        return found
    by, why = cancelled_by(notes[-1]), "" if found.why == notes[-1].why else found.why
    return replace(found, state="cancelled", reason=f"by {by}", why=why, exit_code=Interrupted.exit_code)


def _by_scheduler(known: Standing, last: Event | None, told: JobState) -> Standing:
    code = known.exit_code if known.exit_code is not None else told.exit_code
    why = last.why if last and last.event == "ended" else ""
    began = bool(last and last.event == "started" and not known.anew)
    found = replace(known, reason=told.reason, nodes=told.nodes or known.nodes, exit_code=code, why=why)
    if told.state in ("queued", "requeued"):
        if told.reason.startswith(NEVER):
            return replace(found, state="failed", nodes="")
        back = told.state == "requeued" or known.requeues or last is not None
        # What it ended with, or where it ran, was before it was sent back.
        itself = last if last and last.event == "requeued" else None
        since, why = (known.since, itself.why) if itself else (told.since or known.since, "")
        return replace(found, state="requeued" if back else "queued", nodes="", since=since, exit_code=None, why=why)
    if told.state == "running":
        since = known.since if began else told.since or known.since
        return replace(found, state="running", since=since, exit_code=None)
    if told.state == "cancelled":
        state: State = "failed" if told.reason.startswith("Dependency") else "cancelled"
        reason = NEVER if state == "failed" else told.reason
        return replace(found, state=state, reason=reason, since=told.since or known.since)
    in_order = code in _STOPPED and told.reason.startswith("exit code")
    ended: State = "interrupted" if in_order else "failed"
    return replace(found, state="done" if told.state == "done" else ended, since=told.since or known.since)


def _by_itself(known: Standing, last: Event | None, *, forgotten: bool) -> Standing:
    """Return how a job stands by what it wrote down; one that wrote no end and is forgotten will write none."""
    if last is None and not known.job_id:
        why = "alphaf ended while it handed it over; the same command again finds out, and `alphaf cancel` too"
        return replace(known, state="unknown", reason=NOT_HANDED, why=why)
    if last is None:
        why = "it never began: cancelled, or refused a machine" if forgotten else ""
        return replace(known, state="unknown" if forgotten else "queued", reason=FORGOTTEN * forgotten, why=why)
    if last.event == "ended":
        return _ended(known, last, forgotten=forgotten)
    if not forgotten:
        state: State = "running" if last.event == "started" else "requeued"
        return replace(known, state=state, why=last.why, nodes=known.nodes if state == "running" else "")
    said = "began" if last.event == "started" else "was to go on"
    where = f" on {known.nodes}" if known.nodes and last.event == "started" else ""
    why = f"it {said}{where} and never said how it ended: cancelled, killed, or its machine with it"
    return replace(known, state="failed", reason=FORGOTTEN, why=why)


def _ended(known: Standing, last: Event, *, forgotten: bool) -> Standing:
    code = last.exit_code or 0
    if code in _STOPPED:
        return replace(known, state="interrupted", reason=FORGOTTEN * forgotten, why=last.why)
    reason = f"exit code {code}" if code else ""
    return replace(known, state="failed" if code else "done", reason=reason, why=last.why)


def settled(entry: Entry | None, found: Standing, own: Sequence[Event]) -> Settled:
    """Return how a stage stands that has a job: by its entry, how its newest job stands, and what that wrote down."""
    job = Settled(found.state, found.reason, found.why)
    if entry is None:
        if found.state == "done":
            return Settled("unknown", why=f"job {found.job_id} ended well, and the manifest knows nothing of the stage")
        return job
    whose = _whose(entry, found)
    if entry["state"] == "done" and (whose != "before" or not found.open):
        return Settled("done")
    if whose == "job":
        return _at_work(entry, found, own)
    if whose == "after":  # somebody took it up elsewhere; the job, where it still waits, finds it done or goes on
        waits = found.state in ("queued", "requeued") and entry["state"] != "running"
        return job if waits else Settled(entry["state"])
    return Settled(entry["state"]) if found.state == "done" else job


def _whose(entry: Entry, found: Standing) -> Literal["job", "before", "after"]:
    """Return whether an entry was begun by the job, or by somebody else before or after it was submitted."""
    by = entry.get("job")
    if by and by == bare(found.job_id):
        return "job"
    if entry["started"] < found.job.at:
        return "before"
    # Only Slurm's jobs write their number into the manifest.
    return "after" if by or found.job.scheduler == "slurm" else "job"


def _at_work(entry: Entry, found: Standing, own: Sequence[Event]) -> Settled:
    """Return how a stage stands that its job began and has not done."""
    job = Settled(found.state, found.reason, found.why)
    state: str = entry["state"]
    if found.state in ("queued", "requeued"):
        return replace(job, state="requeued")
    last = newest(own)
    if found.state == "running":
        began = bool(last and last.event == "started" and last.at > (entry.get("ended") or entry["started"]))
        back = bool(last and last.event == "requeued")
        return (
            job
            if state == "running" or began or found.anew
            else Settled("requeued" if back else state, found.reason, found.why)
        )
    if state == "running":
        if found.state == "done":
            return Settled("failed", found.reason, f"job {found.job_id} ended, and the stage had not")
        return job
    if found.state == "cancelled":
        return job
    # alphaf ended it in order, and knows why; the scheduler may know more: TIMEOUT, OUT_OF_MEMORY, PREEMPTED.
    if found.state == "failed" and found.reason != FORGOTTEN:
        code = found.reason.startswith("exit code")
        if not code or state == "interrupted":  # and was to go on no more, which the job says
            return Settled("failed", found.reason, found.why if code else "")
    return Settled(state, found.reason if found.reason == FORGOTTEN else "", found.why if state != "failed" else "")
