"""The runs and experiments there are, each read once and again when its files say that something happened."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from alphaf_orch.board.described import (
    Experiment,
    Run,
    described,
    is_text,
    moment,
    of_record,
    pages_in,
    sign,
    with_holder,
    written,
)
from alphaf_orch.board.holding import Locks
from alphaf_orch.board.queue import Queue
from alphaf_orch.core.masking import mask
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir
from alphaf_orch.core.stop import read_wish
from alphaf_orch.core.stored import absent
from alphaf_orch.experiments.experiment import ExperimentPaths
from alphaf_orch.runs.jobs import Told
from alphaf_orch.runs.look import run_or_damage

_EVERY_S = 1.0  # the whole folder; what works is looked at each time
_SHARE = 10  # ours: a slow disk is asked no more than a tenth of the time
_AGAIN_S = 60.0  # whatever no record tells: a file of a finished stage that is gone
_BUDGET_S = 0.2  # ours: of one look; a finished run takes some 10 ms (200 took 1.8 s), on a network disk far more


@dataclass
class _Kept:
    """What was read of a folder, by which signs of its files, and when."""

    signs: tuple[object, ...]
    at: float
    found: Run | Experiment


class Known:
    """The runs folder as it was last looked at; `look` reads what changed and forgets what is gone."""

    def __init__(self, queue: Queue | None = None) -> None:
        self.root = runs_dir()
        self.runs: tuple[Run, ...] = ()
        self.experiments: tuple[Experiment, ...] = ()
        self.by_name: Mapping[str, Run] = {}
        self.pages: tuple[str, ...] = ()
        self._queue = queue or Queue()
        self._told = Told()
        self._kept: dict[str, _Kept] = {}
        self._locks = Locks()
        self._due = self._until = 0.0

    @property
    def asking(self) -> bool:
        """Whether what jobs do is told without the word of the scheduler, which was asked."""
        return self._queue.asking

    def look(self) -> None:
        """Look at what works; now and then at the whole folder."""
        began = time.monotonic()
        self._until = began + _BUDGET_S
        if began < self._due:
            moving = ("working", "queued")
            self._told = self._queue.look(RunPaths(run.folder) for run in self.runs)
            self._put(
                [self._run(run.name, run.folder) if run.state in moving else run for run in self.runs],
                self.experiments,
            )
            return
        runs, experiments = self._all()
        self.pages = pages_in(self.root)
        self._put(runs, sorted(experiments, key=lambda each: each.created, reverse=True))
        there = {*self.by_name, *(f"{each.name}/" for each in experiments)}
        self._kept = {name: kept for name, kept in self._kept.items() if name in there}
        ended = time.monotonic()
        left = any(run.state == "unread" for run in runs)
        self._due = ended if left else ended + max(_EVERY_S, _SHARE * (ended - began))

    def _all(self) -> tuple[list[Run], list[Experiment]]:
        """Return the runs, those read first that were written last, and the experiments."""
        places, experiments = [], []
        for name in _folders(self.root):
            folder = self.root / name
            if absent(folder / EXPERIMENT_FILE):
                places += [(name, folder)] if _is_run(folder) else []
                continue
            experiments.append(self._experiment(name, folder))
            arms = [each for each in _folders(folder) if _is_run(folder / each)]
            places += [(f"{name}/{each}", folder / each) for each in arms]
        self._told = self._queue.look(RunPaths(folder) for _, folder in places)
        places.sort(key=lambda place: written(RunPaths(place[1])), reverse=True)
        return [self._run(name, folder) for name, folder in places], experiments

    def _put(self, runs: Sequence[Run], experiments: Sequence[Experiment]) -> None:
        self.runs = tuple(sorted(runs, key=lambda run: (run.created, run.name), reverse=True))
        self.experiments = tuple(experiments)
        self.by_name = {run.name: run for run in self.runs}

    def _run(self, name: str, folder: Path) -> Run:
        paths = RunPaths(folder)
        jobs = self._told.standings.get(paths)
        signs = (sign(paths.manifest), sign(folder), jobs)
        kept = self._fresh(name, signs)
        held = self._locks.of_run(paths)
        if not isinstance(kept, Run) and (held or time.monotonic() < self._until):
            kept = described(name, paths, partial(run_or_damage, told=self._told))
            self._kept[name] = _Kept(signs, time.monotonic(), kept)
        if not isinstance(kept, Run):
            before = self._kept.get(name)  # older than its files, and better than nothing
            unread = Run(name, folder, "unread", created=moment(written(paths)), changed=written(paths))
            kept = before.found if before and isinstance(before.found, Run) else unread
        return with_holder(kept, held, stopping=_wished(paths))

    def _experiment(self, name: str, folder: Path) -> Experiment:
        paths = ExperimentPaths(folder)
        signs = (sign(paths.record), sign(folder))
        kept = self._fresh(f"{name}/", signs)
        if not isinstance(kept, Experiment):
            kept = of_record(name, paths)
            self._kept[f"{name}/"] = _Kept(signs, time.monotonic(), kept)
        holder = self._locks.holder(paths.lock)
        return replace(kept, holder=mask(str(holder)) if holder else "")

    def _fresh(self, name: str, signs: tuple[object, ...]) -> Run | Experiment | None:
        kept = self._kept.get(name)
        return kept.found if kept and kept.signs == signs and time.monotonic() - kept.at < _AGAIN_S else None


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as found:
            names = [each.name for each in found if not each.name.startswith(".") and _is_folder(each)]
    except OSError:  # gone meanwhile; whether the folder of all can be read is asked when a board begins
        return []
    return sorted(filter(is_text, names))


def _wished(paths: RunPaths) -> bool:
    """Return whether somebody wishes that the run stops; the file of a wish that was heeded is empty."""
    found = sign(paths.stop_wish)
    return bool(found and found[1]) and read_wish(paths.stop_wish) is not None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead in a circle, a disk that does not answer
        return False


def _is_run(folder: Path) -> bool:
    paths = RunPaths(folder)
    return not absent(paths.manifest) or paths.config.is_file() or bool(paths.all_jobs())
