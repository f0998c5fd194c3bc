"""The jobs of runs as they stand: records and events are read, the scheduler is asked once for all that may be open.

Where it does not answer, what the files say stands, with a note that says so.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alphaf_orch.clusters.reasons import NEVER
from alphaf_orch.clusters.scheduler import JobState, Scheduler
from alphaf_orch.clusters.schedulers import scheduler_named
from alphaf_orch.clusters.submitted import Event, Submitted, read_events, read_submitted
from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs.standing import OPEN, Settled, Standing, of_job, settled, standing

Named = Callable[[str], Scheduler]
Kept = tuple[tuple[Submitted, tuple[Event, ...]], ...]
Key = tuple[str, str]  # a scheduler, and the id that it gave
Answers = dict[Key, JobState]


@dataclass(frozen=True)
class Told:
    """What is known of the jobs of some runs: what their files say, and by that and the scheduler how each stands."""

    kept: Mapping[RunPaths, Kept] = field(default_factory=dict)
    standings: Mapping[RunPaths, tuple[Standing, ...]] = field(default_factory=dict)  # in the order of submission
    note: str = ""  # why a scheduler's word is missing, empty where it is not

    def all(self) -> tuple[Standing, ...]:
        """Return how the jobs of all the runs stand."""
        return tuple(job for jobs in self.standings.values() for job in jobs)


def read_jobs(paths: RunPaths) -> Kept:
    """Return the jobs of a run with what each wrote down of itself; raise RunStateError for a damaged record."""
    return tuple((job, of_job(job, read_events(paths, job.name))) for job in read_submitted(paths))


def ask(runs: Iterable[RunPaths], named: Named = scheduler_named) -> Told:
    """Return what is known of the jobs of all these runs: one call of a scheduler, and none where no job is open.

    A run whose records are damaged is left out: whoever shows it says so.
    """
    kept = read_all(runs)
    answers, note = heard(kept, named)
    return known(kept, answers, note)


def read_all(runs: Iterable[RunPaths]) -> dict[RunPaths, Kept]:
    """Return the jobs of those of the runs that have some, and can be read."""
    kept: dict[RunPaths, Kept] = {}
    for paths in runs:
        with contextlib.suppress(RunStateError):
            kept[paths] = read_jobs(paths)
    return {paths: found for paths, found in kept.items() if found}


def heard(kept: Mapping[RunPaths, Kept], named: Named, *, failed: bool = False) -> tuple[Answers, str]:
    """Return what schedulers say of those jobs that may go on, and why one said nothing.

    That a job ended well it says itself; `failed` has those asked about as well that said that they failed.
    """
    wanted: dict[str, list[str]] = {}
    for each in (one for found in _standings(kept, {}).values() for one in found):
        if each.job_id and (each.open or each.doubtful or (failed and each.state == "failed")):
            wanted.setdefault(each.job.scheduler, []).append(each.job_id)
    answers: Answers = {}
    notes = []
    for name, ids in wanted.items():
        try:
            said = named(name).states(tuple(ids))
        except AlphafError as error:  # the files are there all the same
            notes.append(f"as the files have it, for the scheduler was not heard: {error.what}")
            continue
        answers |= {(name, number): state for number, state in said.items()}
    return answers, "; ".join(notes)


def known(kept: Mapping[RunPaths, Kept], answers: Answers, note: str = "") -> Told:
    """Return files and answers put together."""
    return Told(kept, _standings(kept, answers), note)


def _standings(kept: Mapping[RunPaths, Kept], answers: Answers) -> dict[RunPaths, tuple[Standing, ...]]:
    """Return how the jobs stand; one that a failed one was to make way for never begins, whoever remembers it."""
    found: dict[RunPaths, list[Standing]] = {paths: [] for paths in kept}
    for paths, jobs in kept.items():
        for job, events in jobs:
            by_files = standing(job, events, None)
            told = answers.get(_key(by_files))
            found[paths].append(standing(job, events, told) if told else by_files)
    by_id = {_key(each): each for several in found.values() for each in several if each.job_id}
    causes: dict[Key, Standing | None] = {}
    return {
        paths: tuple(_with_cause(each, by_id, causes) for each in sorted(several, key=_submitted))
        for paths, several in found.items()
    }


def _submitted(found: Standing) -> tuple[str, int, str]:
    return found.job.at, len(found.job_id), found.job_id  # of one second, by their numbers


def _key(found: Standing) -> Key:
    return found.job.scheduler, found.job_id


def _with_cause(each: Standing, by_id: Mapping[Key, Standing], causes: dict[Key, Standing | None]) -> Standing:
    unheard = each.state == "unknown" or (each.state == "queued" and not each.reason)
    if not unheard and not each.reason.startswith(NEVER):
        return each
    cause = _cause(each, by_id, causes)
    if cause is None:
        return each
    why = f"it needs {cause.job.name} (job {cause.job_id}), which is {cause.state}"
    return replace(each, state="failed", reason=NEVER, why=why)


def _cause(each: Standing, by_id: Mapping[Key, Standing], causes: dict[Key, Standing | None]) -> Standing | None:
    """Return the job, of those that this one needs or that they need, that did not end well."""
    if _key(each) not in causes:
        causes[_key(each)] = None  # also for jobs that would wait for each other
        for needed in filter(None, (by_id.get((each.job.scheduler, number)) for number in each.job.after)):
            never = needed.reason.startswith(NEVER)
            itself = needed.state not in ("done", "unknown", *OPEN) and not never and not needed.doubtful
            cause = needed if itself else _cause(needed, by_id, causes) or (needed if never else None)
            causes[_key(each)] = causes[_key(each)] or cause
    return causes[_key(each)]


def settle(entries: Mapping[str, Any], paths: RunPaths, told: Told) -> Mapping[str, tuple[Settled, Standing]]:
    """Return how each stage stands that has a job, with that job."""
    events = {job.name: found for job, found in told.kept.get(paths, ())}
    return {
        each.job.stage: (settled(entries.get(each.job.stage), each, events[each.job.name]), each)
        for each in told.standings.get(paths, ())
        if each.job.stage
    }


def job_json(found: Standing, paths: RunPaths) -> dict[str, Any]:
    """Return a job as a JSON value."""
    return {
        "name": found.job.name,
        "id": found.job_id,
        "scheduler": found.job.scheduler,
        "profile": found.job.profile,
        "stage": found.job.stage,
        "state": found.state,
        "reason": found.reason,
        "why": found.why,
        "nodes": found.nodes,
        "since": found.since,
        "submitted": found.job.at,
        "requeues": found.requeues,
        "exit_code": found.exit_code,
        "output": str(paths.job_output(found.job.name)),
    }


def with_arms(root: Path) -> list[RunPaths]:
    """Return the places of a run's or an experiment's jobs: its own folder, and of an experiment those of its arms."""
    whole = RunPaths(root)
    if not whole.experiment.is_file():
        return [whole]
    arms = [RunPaths(folder) for folder in sorted(root.iterdir()) if folder.is_dir()]
    return [whole, *(arm for arm in arms if arm.jobs.is_dir() or arm.manifest.is_file() or arm.log("").parent.is_dir())]


def any_open(told: Told) -> bool:
    """Return whether something is still to come of a job."""
    return any(job.open for job in told.all())


def counted(jobs: Iterable[Standing]) -> str:
    """Return how many of the jobs are in which state, those first of which something is still to come."""
    states = Counter(job.state for job in jobs)
    order = sorted(states, key=lambda state: (state not in OPEN, state == "done"))
    return ", ".join(f"{states[state]} {state}" for state in order)
