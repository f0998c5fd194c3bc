"""What the runs folder says at this moment, as frozen values: what `alphaf board` and `alphaf watch` show.

A look is cheap: of a run whose record did not change since, nothing is read again; only what works is looked at
closely.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.board.described import Experiment, Run, Stage, epoch
from alphaf_orch.board.followed import Curve, Followed, Progress, tail
from alphaf_orch.board.known import Known
from alphaf_orch.core.cards import Cards, look_at_cards
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.stages import STAGE_ORDER

__all__ = ["Curve", "Experiment", "Folder", "Progress", "Run", "Snapshot", "Stage", "Working"]

# Ours: NVML itself averages over up to a second (nvmlDeviceGetUtilizationRates), and a look takes some milliseconds.
_CARDS_S = 2.0
# Ours: from it on it is said that neither log nor metrics grew; below it a stage is only at work, for a step of a large
# model may take a minute.
QUIET_S = 120.0


@dataclass(frozen=True)
class Working:
    """A stage that somebody works on: how far it is, who holds it, what it prints."""

    run: str
    stage: str  # of the chain, or `eval`, `answers`, `judge`
    holder: str  # in words: process, host, job, since when; empty where nobody says
    since: str | None  # ISO 8601
    progress: Progress
    log: tuple[str, ...]  # its last lines, secrets masked
    quiet_s: float | None  # since the log or the metrics last grew
    at: str = ""  # how far its curve has come (`Curve.at`)


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment: runs and experiments newest first, arms in the order of their experiment."""

    at: float  # seconds since the epoch
    root: Path
    runs: tuple[Run, ...]  # arms among them
    experiments: tuple[Experiment, ...]
    working: tuple[Working, ...]
    cards: Cards
    pages: tuple[str, ...] = ()  # reports of several runs, by their path within `root`
    asking: bool = False  # a scheduler was asked, and its word is not in this yet


class Folder:
    """The runs folder, looked at again and again; safe to ask from several threads."""

    def __init__(self) -> None:
        self._known = Known()
        self._turn = threading.Lock()
        self._followed: dict[tuple[str, str], Followed] = {}
        self._cards: tuple[float, Cards] | None = None

    def look(self) -> Snapshot:
        """Return what is there now; raises nothing for a run or an experiment that cannot be read: it says so."""
        with self._turn:
            self._known.look()
            working = tuple(self._work(run, stage) for run in self._known.runs for stage in run.working)
            known = self._known
            return Snapshot(
                time.time(), known.root, known.runs, known.experiments, working, self._look_at_cards(), known.pages,
                known.asking,
            )  # fmt: skip

    def run(self, name: str) -> Run | None:
        """Return the run (EXPERIMENT/ARM) as the last look found it, None where there is none of that name."""
        return self._known.by_name.get(name)

    def curve(self, run: str, stage: str, at: str = "") -> Curve | None:
        """Return the points of a stage behind an earlier curve's `at`; None where there is no such stage."""
        found = self.run(run)
        if found is None or stage not in {each.name for each in found.stages}:
            return None
        return self._follow(found, stage).curve(at)

    def log(self, run: str, stage: str, lines: int = 200) -> tuple[str, ...] | None:
        """Return the last lines of a stage's log, masked; None where there is no such stage."""
        found = self.run(run)
        if found is None or stage not in {each.name for each in found.stages}:
            return None
        return tail(log_of(RunPaths(found.folder), stage), lines)

    def _follow(self, run: Run, stage: str) -> Followed:
        key = (run.name, stage)
        if key not in self._followed:
            self._followed[key] = Followed(RunPaths(run.folder).metrics(stage))
        return self._followed[key]

    def _work(self, run: Run, stage: Stage) -> Working:
        paths = RunPaths(run.folder)
        followed = self._follow(run, stage.name)
        followed.advance()
        log = log_of(paths, stage.name)
        grown = [time_of(path) for path in (log, paths.metrics(stage.name))]
        newest = max((each for each in grown if each is not None), default=None)
        return Working(
            run=run.name,
            stage=stage.name,
            holder=run.holder or stage.job,
            since=stage.started,
            progress=followed.progress(epoch(stage.started) or 0.0),
            log=tail(log, 40),
            quiet_s=None if newest is None else max(0.0, time.time() - newest),
            at=followed.at,
        )

    def _look_at_cards(self) -> Cards:
        if self._cards is None or time.monotonic() - self._cards[0] > _CARDS_S:
            found = look_at_cards()
            self._cards = (time.monotonic(), found)
        return self._cards[1]


def log_of(paths: RunPaths, stage: str) -> Path:
    """Return the log of a stage; of what is no stage of the chain the newest one of its kind, else alphaf's own."""
    if stage in STAGE_ORDER:
        return paths.log(stage)
    if paths.job_output(stage).is_file():
        return paths.job_output(stage)
    logs = [(time_of(path) or 0.0, path) for path in paths.log("x").parent.glob(f"{stage}*.log")]
    return max(logs)[1] if logs else paths.log("alphaf")


def time_of(path: Path) -> float | None:
    """Return when a file last grew, in seconds since the epoch; None where it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
