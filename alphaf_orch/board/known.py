"""The runs and experiments there are, each read once and again when its files say that something happened."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.holder import Holder, holder_of
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir
from alphaf_orch.core.stored import absent
from alphaf_orch.experiments.experiment import ExperimentPaths, read_record
from alphaf_orch.runs.look import run_or_damage
from alphaf_orch.runs.watch.findings import Finding, recorded

# `begun`: there, and no stage of it yet.
State = Literal["working", "queued", "failed", "interrupted", "damaged", "done", "begun"]
_EVERY_S = 1.0  # the whole folder; what works is looked at each time
_SHARE = 10  # ours: a slow disk is asked no more than a tenth of the time
_AGAIN_S = 60.0  # whatever no record tells: a file of a finished stage that is gone


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


@dataclass
class _Kept:
    """What was read of a folder, by which signs of its files, and when."""

    signs: tuple[object, ...]
    at: float
    found: Run | Experiment


class Known:
    """The runs folder as it was last looked at; `look` reads what changed and forgets what is gone."""

    def __init__(self, describe: Callable[[RunPaths], Mapping[str, Any]] = run_or_damage) -> None:
        self.root = runs_dir()
        self.runs: tuple[Run, ...] = ()
        self.experiments: tuple[Experiment, ...] = ()
        self.by_name: Mapping[str, Run] = {}
        self._describe = describe
        self._kept: dict[str, _Kept] = {}
        self._locks = Locks()
        self._due = 0.0

    def look(self) -> None:
        """Look at what works; now and then at the whole folder."""
        began = time.monotonic()
        if began < self._due:
            self._put(
                [self._run(run.name, run.folder) if run.state in ("working", "queued") else run for run in self.runs],
                self.experiments,
            )
            return
        runs, experiments = [], []
        for name in _folders(self.root):
            folder = self.root / name
            if absent(folder / EXPERIMENT_FILE):
                runs += [self._run(name, folder)] if _is_run(folder) else []
                continue
            experiments.append(self._experiment(name, folder))
            arms = [each for each in _folders(folder) if _is_run(folder / each)]
            runs += [self._run(f"{name}/{each}", folder / each) for each in arms]
        self._put(runs, sorted(experiments, key=lambda each: each.created, reverse=True))
        there = {*self.by_name, *(f"{each.name}/" for each in experiments)}
        self._kept = {name: kept for name, kept in self._kept.items() if name in there}
        ended = time.monotonic()
        self._due = ended + max(_EVERY_S, _SHARE * (ended - began))

    def _put(self, runs: Sequence[Run], experiments: Sequence[Experiment]) -> None:
        self.runs = tuple(sorted(runs, key=lambda run: (run.created, run.name), reverse=True))
        self.experiments = tuple(experiments)
        self.by_name = {run.name: run for run in self.runs}

    def _run(self, name: str, folder: Path) -> Run:
        paths = RunPaths(folder)
        signs = (_sign(paths.manifest), _sign(folder), *_signs_of_jobs(paths))
        kept = self._fresh(name, signs)
        if not isinstance(kept, Run):
            kept = described(name, paths, self._describe)
            self._kept[name] = _Kept(signs, time.monotonic(), kept)
        return _with_holder(kept, self._locks.of_run(paths), stopping=not absent(paths.stop_wish))

    def _experiment(self, name: str, folder: Path) -> Experiment:
        paths = ExperimentPaths(folder)
        signs = (_sign(paths.record), _sign(folder))
        kept = self._fresh(f"{name}/", signs)
        if not isinstance(kept, Experiment):
            kept = _recorded(name, paths)
            self._kept[f"{name}/"] = _Kept(signs, time.monotonic(), kept)
        holder = self._locks.holder(paths.lock)
        return replace(kept, holder=str(holder) if holder else "")

    def _fresh(self, name: str, signs: tuple[object, ...]) -> Run | Experiment | None:
        kept = self._kept.get(name)
        return kept.found if kept and kept.signs == signs and time.monotonic() - kept.at < _AGAIN_S else None


class Locks:
    """Who holds what: on another machine by whether a lock was touched since it was looked at before."""

    def __init__(self) -> None:
        self._touched: dict[Path, tuple[int, float]] = {}

    def holder(self, lock: Path) -> Holder | None:
        """Return who holds a lock and lives, as far as can be told; None where nobody does."""
        try:
            found = lock.stat()
        except OSError:
            return None
        holder = holder_of(lock) if found.st_size else None
        if holder is None or not holder.host:
            return None
        before = self._touched.get(lock)
        if before is None or before[0] != found.st_mtime_ns:
            # Its own clock may differ from ours: whoever touched it since the last look lives, whatever it says.
            silent = 0.0 if before else max(0.0, time.time() - found.st_mtime)
            self._touched[lock] = (found.st_mtime_ns, time.monotonic() - silent)
        return holder if holder.lives(time.monotonic() - self._touched[lock][1]) is not False else None

    def of_run(self, paths: RunPaths) -> tuple[str, Holder] | None:
        """Return what is done on a run and who does it: `stage`, `eval`, `answers` or `judge`."""
        places = [("stage", paths.lock), ("eval", paths.eval_lock), ("answers", paths.answers_lock)]
        places += [("judge", folder / ".lock") for folder in paths.judgings()]
        return next(((what, holder) for what, lock in places if (holder := self.holder(lock))), None)


def described(name: str, paths: RunPaths, describe: Callable[[RunPaths], Mapping[str, Any]]) -> Run:
    """Return the run by what `alphaf show` says of it; what cannot be read is a damaged one."""
    changed = next((sign[2] / 1e9 for place in (paths.manifest, paths.root) if (sign := _sign(place))), 0.0)
    by_files = Run(name, paths.root, "damaged", created=_moment(changed), changed=changed, pages=_pages(paths.root))
    try:
        told = describe(paths)
    except AlphafError as error:
        return replace(by_files, damage=error.what, fix=error.fix)
    except OSError as error:
        return replace(by_files, damage=str(error), fix="look at the rights of the folder and at its disk")
    if "damaged" in told:
        return replace(by_files, damage=str(told["damaged"]), fix=str(told["next"]))
    stages = tuple(_stage(stage, entry) for stage, entry in told["stages"].items())
    created = _moment(datetime.fromisoformat(told["created"]).timestamp()) if _is_moment(told["created"]) else ""
    return replace(
        by_files, state="begun", stages=stages, base=str(told["base"] or ""), created=created or by_files.created
    )


def _stage(name: str, entry: Mapping[str, Any]) -> Stage:
    job = entry.get("job")
    return Stage(
        name=name,
        state=str(entry["state"]),
        started=entry.get("started"),
        ended=entry.get("ended"),
        seconds=entry.get("seconds"),
        told=str(entry.get("error") or entry.get("reason") or ""),
        job=str(job or "") if not isinstance(job, Mapping) else " ".join(str(part) for part in job.values() if part),
        findings=tuple(recorded(entry)),
    )


def _with_holder(run: Run, held: tuple[str, Holder] | None, *, stopping: bool) -> Run:
    """Return the run with who works on it: without anybody, `running` is what a kill left behind."""
    begun = [stage for stage in run.stages if stage.state == "running"]
    last = max(begun, key=lambda stage: stage.started or "", default=None) if held and held[0] == "stage" else None
    stages = tuple(
        replace(stage, state="interrupted") if stage.state == "running" and stage is not last else stage
        for stage in run.stages
    )
    if held and held[0] != "stage":
        stages += (Stage(held[0], "running", started=held[1].since),)
    holder = str(held[1]) if held else ""
    return replace(run, stages=stages, state=_state(run, stages, holder), holder=holder, stopping=stopping)


def _state(run: Run, stages: Sequence[Stage], holder: str) -> State:
    if holder:
        return "working"
    if run.damage:
        return "damaged"
    states = {stage.state for stage in stages}
    if states & {"queued", "requeued"}:
        return "queued"
    for state in ("damaged", "failed"):
        if state in states:
            return state
    if not states:
        return "begun"
    return "done" if states == {"done"} else "interrupted"


def _recorded(name: str, paths: ExperimentPaths) -> Experiment:
    sign = _sign(paths.record)
    by_files = Experiment(name, paths.root, created=_moment(sign[2] / 1e9 if sign else 0.0), pages=_pages(paths.root))
    try:
        record = read_record(paths)
    except AlphafError as error:
        return replace(by_files, damage=error.what, fix=error.fix)
    if not record:
        return replace(by_files, damage="its record is gone", fix=f"`alphaf repair {name}`")
    created = _moment(datetime.fromisoformat(record["created"]).timestamp())
    arms = {arm["name"]: arm["state"] for arm in record["arms"]}
    return replace(by_files, kind=record["kind"], created=created, arms=arms)


def _pages(root: Path) -> tuple[str, ...]:
    """Return the reports in a run's or an experiment's folder, by their path in it."""
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208  (names)
    except OSError:
        return ()
    found = [name for name in names if is_page(name)]
    sweep = RunPaths(root).sweep.html_report
    return (*found, *((str(sweep.relative_to(root)),) if sweep.is_file() else ()))


def is_page(name: str) -> bool:
    """Return whether a file of that name in a run's folder is a report."""
    return name == "report.html" or (name.startswith("compare-") and name.endswith(".html"))


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as found:
            return sorted(each.name for each in found if each.is_dir() and not each.name.startswith("."))
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    paths = RunPaths(folder)
    return not absent(paths.manifest) or paths.config.is_file()


def _sign(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _signs_of_jobs(paths: RunPaths) -> tuple[object, ...]:
    sign = _sign(paths.jobs)
    return (sign, *(_sign(path) for path in sorted(paths.jobs.iterdir()))) if sign else ()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _is_moment(text: object) -> bool:
    try:
        datetime.fromisoformat(str(text))
    except ValueError:
        return False
    return True
