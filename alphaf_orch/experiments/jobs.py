"""An experiment as jobs: what arms have in common is one job, and the others wait for it; the report comes last.

Two stages are the same where their fingerprints are (runs/sharing.py). Pure: what is done, queued or there is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import STAGE_ORDER, Stage

NeedsOf = Callable[[Stage, Plan], Needs]
Shared = Mapping[str, Mapping[str, str]]  # by run and stage, the run that makes it instead


@dataclass(frozen=True)
class ArmWork:
    """What an arm still lacks: its stages that are not done, in order, and what is asked of it behind them.

    `begun` are those of them that lie half-made in the arm: it goes on with them, and can take over no other arm's.
    `there` are those that another arm has finished: this arm's next job takes them over. `asks` need the last stage
    (evaluations), `anyway` is done however far the arm came (a bake-off's answers).
    """

    run: str  # EXPERIMENT/ARM
    plan: Plan
    to_do: tuple[Stage, ...] = ()
    begun: frozenset[str] = frozenset()
    there: frozenset[str] = frozenset()
    asks: tuple[Job, ...] = ()
    anyway: tuple[Job, ...] = ()


@dataclass(frozen=True)
class Planned:
    """The jobs to submit, and which run makes a stage that another one takes over once it is made."""

    jobs: tuple[Job, ...]
    shared: Shared = field(default_factory=dict)


def plan_jobs(
    works: Sequence[ArmWork],
    needs_of: NeedsOf,
    *,
    parallel: int | None = None,
    live: Collection[str] = (),
) -> Planned:
    """Return the jobs that make what the arms lack, but none whose key is in `live`: it is under way already.

    With `parallel`, so many arms train at a time: the first own training of an arm waits for the end of the arms before
    it in its lane, however they ended.
    """
    ordered = sorted(works, key=_furthest_first)
    makers = _makers(ordered)
    shared = {
        work.run: taken for work in ordered if (taken := {stage.name: maker for stage, maker in _taken(work, makers)})
    }
    jobs: list[Job] = []
    ends: list[tuple[str, ...]] = []  # behind which jobs each arm so far has ended
    for work in ordered:
        made, end = _arm_jobs(work, shared.get(work.run, {}), needs_of, live)
        # All of the lane: were it the arm before alone, one that is cancelled would let the next one go.
        lane = ends[-parallel::-parallel] if parallel and len(ends) >= parallel else []
        jobs += _gated(made, [key for end in lane for key in end])
        if end:
            ends.append(end)
    return Planned(tuple(jobs), shared)


def fresh_jobs(
    works: Sequence[ArmWork],
    needs_of: NeedsOf,
    *,
    parallel: int | None,
    live: Collection[str],
    queued: Collection[str],
) -> tuple[Planned, frozenset[str]]:
    """Return the jobs to submit, and which of the `queued` ones, of those under way, are to be taken back before.

    Such a one waits for a job that failed and is submitted anew: it would wait for ever, or be ended by the scheduler.
    """
    waits = {job.key: set(job.after) for job in plan_jobs(works, needs_of).jobs}
    left = set(live)
    while True:
        found = plan_jobs(works, needs_of, parallel=parallel, live=left)
        new = {job.key for job in found.jobs}
        stale = {key for key in left & set(queued) if waits.get(key, set()) & new}
        if not stale:
            return found, frozenset(set(live) - left)
        left -= stale


def last_of_all(job: Job, jobs: Sequence[Job], live: Collection[str]) -> Job:
    """Return the job so that it waits for the end of all others, those that are under way included."""
    others = dict.fromkeys([*(each.key for each in jobs), *live])
    return replace(job, behind=tuple(key for key in others if key != job.key))


def _furthest_first(work: ArmWork) -> int:
    """Return what puts arms that have begun a training before those that would begin it, the furthest one first.

    So whoever makes a stage stands before all that wait for it, and lanes, which lead forward, close no circle.
    """
    return -max((STAGE_ORDER.index(name) for name in work.begun), default=-1)


def _makers(ordered: Sequence[ArmWork]) -> dict[str, str]:
    """Return by fingerprint which run makes a stage: the first one that lacks it."""
    found: dict[str, str] = {}
    for work in ordered:
        for stage in work.to_do:
            if stage.name not in work.there:
                found.setdefault(stage.fingerprint, work.run)
    return found


def _taken(work: ArmWork, makers: Mapping[str, str]) -> list[tuple[Stage, str]]:
    """Return the stages that the arm takes over from jobs of others, and who makes them."""
    own = work.begun | work.there
    found = [(stage, makers.get(stage.fingerprint, work.run)) for stage in work.to_do if stage.name not in own]
    return [(stage, maker) for stage, maker in found if maker != work.run]


def _arm_jobs(
    work: ArmWork, taken: Mapping[str, str], needs_of: NeedsOf, live: Collection[str]
) -> tuple[list[Job], tuple[str, ...]]:
    """Return the jobs of an arm, and behind which ones it has ended; those under way are among the latter."""
    jobs: list[Job] = []
    own = ""  # the last job of the arm's own
    waits: list[str] = []  # what the next one waits for
    for stage in work.to_do:
        adopted = stage.name in taken or (stage.name in work.there and stage.name not in work.begun)
        if stage.name in taken:
            waits.append(f"{taken[stage.name]}:{stage.name}")
        if adopted and stage is not work.to_do[-1]:
            continue
        # Where all is taken over, the last stage has a job all the same: somebody has to take it. No GPU is needed.
        job = Job(
            work.run, stage.name, Needs("data") if adopted else needs_of(stage, work.plan), stage.name,
            after=tuple(dict.fromkeys(waits)),
        )  # fmt: skip
        jobs += [job] if job.key not in live else []
        own, waits = job.key, [job.key]
    ends = [own] if own else []
    for ask in work.asks:
        jobs += [replace(ask, after=tuple(ends[:1]) if own else ())] if ask.key not in live else []
        ends.append(ask.key)
    for ask in work.anyway:
        jobs += [replace(ask, behind=tuple(ends))] if ask.key not in live else []
    ends += [ask.key for ask in work.anyway]
    return jobs, tuple(ends)


def _gated(jobs: Sequence[Job], before: Sequence[str]) -> list[Job]:
    """Return an arm's jobs, the first that takes GPUs of its own waiting for the end of those: its first training."""
    trains = [job for job in jobs if job.needs.role == "train"] or list(jobs[:1])
    return [
        replace(job, behind=tuple(dict.fromkeys((*job.behind, *before)))) if job in trains[:1] else job for job in jobs
    ]
