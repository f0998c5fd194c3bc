"""What was handed to a scheduler, and what the jobs wrote down of themselves: files of the run, read anywhere.

`jobs/NAME.json` is written when a job is submitted; `jobs/NAME.events.jsonl` grows by a line whenever it starts, is
sent back to the queue, or ends. Nothing else of a submission is kept: the rest is the scheduler's to say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from alphaf_orch.core import shapes
from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import Interrupted, RunStateError
from alphaf_orch.core.holder import job_id_of, restart_of
from alphaf_orch.core.masking import mask
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import now, stored_json, write_atomic
from alphaf_orch.core.small_files import parse_json

FORMAT = 1
Happened = Literal["started", "requeued", "ended"]
_CANCELLED = "cancelled by "


@dataclass(frozen=True)
class Event:
    """Something a job wrote down: `restart` counts how often it was sent back to the queue before."""

    event: Happened
    at: str
    job_id: str = ""
    restart: int = 0
    nodes: str = ""  # the machines, as the scheduler lists them
    exit_code: int | None = None
    why: str = ""  # of what was sent back or ended otherwise than well


@dataclass(frozen=True)
class Submitted:
    """One job that was handed to a scheduler; `planned` is the machine that its stages were planned for."""

    run: str
    name: str
    scheduler: str
    job_id: str
    stage: str | None = None
    role: str = ""
    profile: str = ""
    at: str = ""
    by: str = ""  # user@host
    argv: tuple[str, ...] = ()
    after: tuple[str, ...] = ()  # ids
    nodes: int = 1
    gpus: int = 0
    max_requeues: int = 0
    planned: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def write_submitted(paths: RunPaths, job: Submitted) -> None:
    """Write a job down, whole; what an earlier one of that name wrote of itself is kept as it is."""
    text = json.dumps(vars(job), ensure_ascii=False, indent=1) + "\n"
    # Without its id it is written again in a moment. Twice flushed, hundreds of jobs take a busy disk half a minute.
    write_atomic(paths.job(job.name), text, lasting=bool(job.job_id))


def read_submitted(paths: RunPaths) -> tuple[Submitted, ...]:
    """Return the jobs of a run by when they were submitted; raise RunStateError for a file that cannot be read."""
    found = []
    for path in paths.all_jobs():
        value = stored_json(path, shapes.Job)
        if value:
            known = {name: value[name] for name in Submitted.__dataclass_fields__ if name in value}
            known |= {name: tuple(known.get(name, ())) for name in ("argv", "after")}
            found.append(Submitted(**known))
    return tuple(sorted(found, key=lambda job: (job.at, job.name)))


def the_submitted(paths: RunPaths, name: str) -> Submitted:
    """Return the record of one job; raise RunStateError where there is none: it was taken back, or never submitted."""
    found = next((job for job in read_submitted(paths) if job.name == name), None)
    if found is None:
        raise RunStateError(
            f"{paths.full_name} has no job {name}: it was taken back, or was submitted for another folder",
            where=str(paths.job(name)),
            fix="submit again; ALPHAF_RUNS has to lie on a disk that all machines share",
            code="run.job_not_found",
        )
    return found


def note(paths: RunPaths, name: str, event: Event) -> None:
    """Add a line to what a job wrote down of itself; a line is one write, so that two writers leave two lines."""
    path = paths.job_events(name)
    line = json.dumps({key: value for key, value in vars(event).items() if value not in ("", None)}, ensure_ascii=False)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(handle, f"{mask(line)}\n".encode())
        finally:
            os.close(handle)


def happened(event: Happened, **facts: Any) -> Event:
    """Return an event of this moment, in the job that this process is part of."""
    env = os.environ
    return Event(event, now(), job_id_of(env), restart_of(env), env.get("SLURM_JOB_NODELIST", ""), **facts)


def started(paths: RunPaths, job: Submitted) -> Event:
    """Return that a job starts at this moment; where no scheduler counts its restarts, its own starts are counted."""
    event = happened("started")
    if "SLURM_JOB_ID" in os.environ or not event.job_id:
        return event
    before = [each for each in read_events(paths, job.name) if each.job_id == event.job_id and each.at >= job.at]
    return replace(event, restart=sum(each.event == "started" for each in before))


def read_events(paths: RunPaths, name: str) -> tuple[Event, ...]:
    """Return what a job wrote down of itself, in order; half a line, of a job that was killed in it, says nothing."""
    try:
        lines = paths.job_events(name).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(event for line in lines if (event := _event(line)))


def _event(line: str) -> Event | None:
    try:
        found = parse_json(line)
        known = {key: found[key] for key in Event.__dataclass_fields__ if key in found}
        event = Event(**known)
    except (ValueError, TypeError):
        return None
    right = isinstance(event.at, str) and isinstance(event.restart, int) and event.event in Happened.__args__  # type: ignore[attr-defined]
    return event if right else None


def bare(job_id: str) -> str:
    """Return a job's number as the job itself knows it: sbatch puts `;CLUSTER` behind it where there are several."""
    return job_id.partition(";")[0]


def cancelled(job: Submitted, by: str) -> Event:
    """Return that a job was taken back at this moment, which it may not live to write down; `cancelled_by` reads it."""
    return Event("ended", now(), bare(job.job_id), exit_code=Interrupted.exit_code, why=f"{_CANCELLED}{by}")


def cancelled_by(event: Event) -> str:
    """Return who took a job back; empty for what else happened to it."""
    by = event.event == "ended" and event.why.startswith(_CANCELLED)
    return event.why.removeprefix(_CANCELLED) if by else ""


def newest(events: Sequence[Event]) -> Event | None:
    """Return the last thing a job wrote down, None where it has not begun."""
    return events[-1] if events else None
