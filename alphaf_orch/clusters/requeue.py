"""Whether a job that was asked to make room is sent back to the queue once more, or has been so often enough."""

from __future__ import annotations

from alphaf_orch.clusters.submitted import Submitted
from alphaf_orch.core import signals
from alphaf_orch.core.errors import AlphafError, GoesOnLater, Interrupted, RunStateError

_MORE = (
    "submit the same command again: it goes on from there; `max_requeues:` of the profile allows more, a longer `time:`"
    " needs fewer"
)


def refuse_start(job: Submitted, restart: int, where: str) -> None:
    """Raise RunStateError where a job was sent back to the queue more often than its profile allows.

    Slurm counts what it sent back itself too (a node that failed, a preemption): `restart` is SLURM_RESTART_COUNT.
    """
    if restart > job.max_requeues:
        raise RunStateError(
            f"job {job.job_id} ({job.name}) was sent back to the queue {restart} times, more than the"
            f" {job.max_requeues} that are allowed",
            where=where,
            fix=f"look at its output for what keeps ending it; {_MORE}",
        )


def ended_by(error: Interrupted, job: Submitted, restart: int) -> AlphafError:
    """Return the error that a job ends with: GoesOnLater, code 75, by which its script sends it back to the queue.

    What was not asked to make room stays what it is, and behind the last requeue it is a RunStateError that says so.
    """
    if not signals.goes_on_later() and not isinstance(error, GoesOnLater):
        return error
    if restart < job.max_requeues:
        return GoesOnLater(error.what, where=error.where, fix=error.fix)
    often = f"it was sent back to the queue {restart} times already" if restart else "it is not to be sent back"
    return RunStateError(
        f"{error.what}; job {job.job_id} does not go on by itself: {often} (max_requeues {job.max_requeues})",
        where=error.where,
        fix=_MORE,
    )
