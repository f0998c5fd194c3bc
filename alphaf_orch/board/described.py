"""A run and an experiment as their records tell them, secrets masked, and who works on them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.holder import Holder
from alphaf_orch.core.masking import mask
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import latest
from alphaf_orch.experiments.experiment import ExperimentPaths, read_record
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.runs.watch.findings import Finding, recorded

_FILE = re.compile(r"\w[\w.-]*")  # what may stand in the name of a file of ours
# `begun`: there, and no stage of it yet; `unread`: there, and a later look reads it.
State = Literal["working", "queued", "failed", "interrupted", "damaged", "done", "begun", "unread"]


@dataclass(frozen=True)
class Stage:
    """A stage of a run as `alphaf show` has it; `running` only where somebody works on it, else `interrupted`."""

    name: str
    state: str
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    told: str = ""  # why it failed, what it waits for
    job: str = ""  # its id and where it is, in words
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run, or an arm of an experiment (`name` is EXPERIMENT/ARM then)."""

    name: str
    folder: Path
    state: State
    stages: tuple[Stage, ...] = ()
    base: str = ""
    created: str = ""
    changed: float = 0.0  # seconds since the epoch
    holder: str = ""  # who works on it, in words
    damage: str = ""  # what is wrong with its record
    fix: str = ""  # and what mends it
    pages: tuple[str, ...] = ()  # reports, by their path within `folder`
    stopping: bool = False  # somebody wishes that it stops

    @property
    def experiment(self) -> str:
        """The experiment that it is an arm of, empty for a run of its own."""
        return self.name.rpartition("/")[0]

    @property
    def working(self) -> tuple[Stage, ...]:
        """The stages that somebody works on."""
        return tuple(stage for stage in self.stages if stage.state == "running")


@dataclass(frozen=True)
class Experiment:
    """An experiment: its arms are the runs of `Snapshot.runs` whose `experiment` it is."""

    name: str
    folder: Path
    kind: str = ""
    created: str = ""
    arms: Mapping[str, str] | None = None  # by name, how it ended as the record says: done, failed, not started
    holder: str = ""
    damage: str = ""
    fix: str = ""
    pages: tuple[str, ...] = ()


def described(name: str, paths: RunPaths, describe: Callable[[RunPaths], Mapping[str, Any]]) -> Run:
    """Return the run by what `alphaf show` says of it; what cannot be read is a damaged one."""
    changed = written(paths)
    by_files = Run(name, paths.root, "damaged", created=moment(changed), changed=changed, pages=pages_in(paths.root))
    try:
        told = describe(paths)
    except AlphafError as error:
        return replace(by_files, damage=error.what, fix=error.fix)
    except OSError as error:
        return replace(by_files, damage=str(error), fix="look at the rights of the folder and at its disk")
    if "damaged" in told:
        return replace(by_files, damage=str(told["damaged"]), fix=str(told["next"]))
    stages = tuple(_stage(stage, entry) for stage, entry in told["stages"].items())
    stages += tuple(_other_jobs(told.get("jobs", ())))
    created = moment(begun) if (begun := epoch(told["created"])) is not None else ""
    run = replace(
        by_files, state="begun", stages=stages, base=str(told["base"] or ""), created=created or by_files.created
    )
    return replace(run, state=_state(run, stages, ""))


def _stage(name: str, entry: Mapping[str, Any]) -> Stage:
    return Stage(
        name=name,
        state=str(entry["state"]),
        started=entry.get("started") or (entry.get("job") or {}).get("since"),
        ended=entry.get("ended"),
        seconds=entry.get("seconds"),
        told=mask(str(entry.get("error") or entry.get("reason") or "")),
        job=_job(entry.get("job") or {}),
        findings=tuple(recorded(entry)),
    )


def _other_jobs(jobs: Sequence[Mapping[str, Any]]) -> Iterator[Stage]:
    """Yield the jobs that make no stage: evaluations, a report."""
    for job in jobs:
        name = str(job["name"])
        if job["stage"] is None and name not in STAGE_ORDER and _FILE.fullmatch(name):
            told = mask("; ".join(filter(None, (job["reason"], job["why"]))))
            yield Stage(name, str(job["state"]), started=job["since"] or None, told=told, job=_job(job))


def _job(job: Mapping[str, Any]) -> str:
    """Return a job in words: `slurm job 12, node1, back in the queue 2 times`."""
    if not job:
        return ""
    again = f"back in the queue {job['requeues']} times" if job.get("requeues") else ""
    parts = (f"{job['scheduler']} job {job['id'] or '?'}", job.get("nodes"), again)
    return mask(", ".join(str(part) for part in parts if part))


def with_holder(run: Run, held: tuple[str, Holder] | None, *, stopping: bool) -> Run:
    """Return the run with who works on it: without anybody, `running` is what a kill left behind."""
    begun = [stage for stage in run.stages if stage.state == "running"]
    if held is None and not begun and stopping == run.stopping:
        return run
    last = latest(begun, lambda stage: stage.started or "") if held and held[0] == "stage" else None
    stages = tuple(
        # A job that runs is the scheduler's word for it, and may not have begun to hold anything.
        replace(stage, state="interrupted") if stage in begun and stage is not last and not stage.job else stage
        for stage in run.stages
    )
    if held and held[0] != "stage":
        stages += (Stage(held[0], "running", started=held[1].since),)
    holder = mask(str(held[1])) if held else ""
    return replace(run, stages=stages, state=_state(run, stages, holder), holder=holder, stopping=stopping)


def _state(run: Run, stages: Sequence[Stage], holder: str) -> State:
    if holder or any(stage.state == "running" for stage in stages):
        return "working"
    if run.damage:
        return "damaged"
    if run.state == "unread":
        return "unread"
    states = {stage.state for stage in stages}
    if states & {"queued", "requeued"}:
        return "queued"
    for state in ("damaged", "failed"):
        if state in states:
            return state
    if not states:
        return "begun"
    return "done" if states == {"done"} else "interrupted"


def of_record(name: str, paths: ExperimentPaths) -> Experiment:
    """Return the experiment by its record; one that cannot be read is a damaged one."""
    found = sign(paths.record)
    by_files = Experiment(
        name, paths.root, created=moment(found[2] / 1e9 if found else 0.0), pages=pages_in(paths.root)
    )
    try:
        record = read_record(paths)
    except AlphafError as error:
        return replace(by_files, damage=error.what, fix=error.fix)
    if not record:
        return replace(by_files, damage="its record is gone", fix=f"`alphaf repair {name}`")
    created = moment(epoch(record["created"]) or 0.0)
    arms = {arm["name"]: arm["state"] for arm in record["arms"]}
    return replace(by_files, kind=record["kind"], created=created, arms=arms)


def pages_in(root: Path) -> tuple[str, ...]:
    """Return the reports in a folder of a run, an experiment or of all runs, by their path in it."""
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208  (names)
    except OSError:
        return ()
    found = [name for name in names if _is_page(name) and is_text(name)]
    sweep = RunPaths(root).sweep.html_report
    return (*found, *((str(sweep.relative_to(root)),) if sweep.is_file() else ()))


def _is_page(name: str) -> bool:
    """Return whether a file of that name in a run's folder is a report."""
    return name == "report.html" or (name.startswith("compare-") and name.endswith(".html"))


def is_text(name: str) -> bool:
    """Return whether a file's name is UTF-8; of others `alphaf` makes none, and no page can name them."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def sign(path: Path) -> tuple[int, int, int] | None:
    """Return what tells a file from an earlier one of its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def written(paths: RunPaths) -> float:
    """Return when a run's record was written, of one without a record its folder; in seconds since the epoch."""
    return next((found[2] / 1e9 for place in (paths.manifest, paths.root) if (found := sign(place))), 0.0)


def moment(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC; empty for what no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""


def epoch(text: object) -> float | None:
    """Return a moment as it is written in a record in seconds since the epoch, None for what is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None
