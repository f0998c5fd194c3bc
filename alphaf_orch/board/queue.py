"""The jobs of the runs as they stand: their files read again where they changed, the scheduler asked now and then.

It is asked in a thread of its own: one that is slow or silent holds up no look, and what the files say stands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

from alphaf_orch.board.described import sign
from alphaf_orch.clusters.schedulers import scheduler_named
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs.jobs import Answers, Kept, Told, any_open, heard, known, read_jobs

# Ours: squeue asks the one daemon of the whole cluster; sites ask for a minute between the calls of a script.
ASK_EVERY_S = 30.0
Hear = Callable[[dict[RunPaths, Kept]], tuple[Answers, str]]


class Queue:
    """What was handed to schedulers, followed."""

    def __init__(self, hear: Hear | None = None) -> None:
        self._hear = hear or partial(heard, named=scheduler_named)
        self._signs: dict[RunPaths, tuple[object, ...]] = {}
        self._kept: dict[RunPaths, Kept] = {}
        self._heard: tuple[Answers, str] = ({}, "")
        self._used: object = None
        self._told = Told()
        self._asked = 0.0
        self._asking: threading.Thread | None = None

    def look(self, runs: Iterable[RunPaths]) -> Told:
        """Return how the jobs of these runs stand, by their files as they are now and the scheduler's last word."""
        signs = {paths: found for paths in runs if (found := signs_of(paths)) is not None}
        changed = [paths for paths, found in signs.items() if self._signs.get(paths) != found]
        gone = self._signs.keys() - signs.keys()
        for paths in changed:
            try:
                self._kept[paths] = read_jobs(paths)
            except AlphafError:  # whoever describes the run says so
                self._kept.pop(paths, None)
        for paths in gone:
            self._kept.pop(paths, None)
        self._signs = signs
        if changed or gone or self._used is not self._heard:
            self._used = self._heard
            self._told = known(self._kept, *self._heard)
        if any_open(self._told):
            self._ask()
        return self._told

    @property
    def asking(self) -> bool:
        """Whether a scheduler was asked whose word is in no look yet."""
        return self._is_asked() or self._used is not self._heard

    def _is_asked(self) -> bool:
        return self._asking is not None and self._asking.is_alive()

    def _ask(self) -> None:
        if self._is_asked() or (self._asked and time.monotonic() - self._asked < ASK_EVERY_S):
            return
        self._asked = time.monotonic()
        kept = dict(self._kept)

        def ask() -> None:
            self._heard = self._hear(kept)

        self._asking = threading.Thread(target=ask, name="asks the scheduler", daemon=True)
        self._asking.start()


def signs_of(paths: RunPaths) -> tuple[object, ...] | None:
    """Return what tells whether a job of the run was submitted, or wrote something down; None where it has none."""
    folder = sign(paths.jobs)
    if folder is None:
        return None
    # What the jobs print grows all the time and tells nothing of their states.
    told = (*paths.jobs.glob("*.json"), *paths.jobs.glob("*.jsonl"))
    return (folder, *map(sign, sorted(told)))
