"""Whether a stage gives any sign of life: rows, words, files, and where nothing else tells, work of its processes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.processes import Process, living, mark_of
from alphaf_orch.core.walk import walked
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.watch.memory import was_training

# Where nothing is asked for, a silence is only said: as long as transformers lets a rank wait for the others
# (TrainingArguments.ddp_timeout, 1800 s).
SAID_AFTER_S = 1800.0
_LOOKS = 20  # ours: looks within the time, each of some milliseconds
_TICKS = 2  # ours: of a hundredth of a second each; a process that waits needs fewer between two looks


class Silence:
    """How long nothing has changed of what a stage leaves; it is looked at now and then, whenever it is asked."""

    def __init__(self, signs: Callable[[], Sequence[Any]], after_s: float) -> None:
        self._signs, self._every = signs, min(30.0, max(0.2, after_s / _LOOKS))
        self._last: Sequence[Any] | None = None
        self._since = self._looked = time.monotonic()

    def seconds(self) -> float:
        """Return for how long there has been no sign."""
        now = time.monotonic()
        away = now - self._looked
        if self._last is None or away >= self._every:
            # Where nobody looked (a paused machine, a disk that did not answer), nothing is known of the stage.
            self._since += max(0.0, away - 2 * self._every)
            self._looked, found = now, self._signs()
            if found != self._last:
                self._last, self._since = found, now
        return now - self._since


def processes(paths: RunPaths) -> list[Process]:
    """Return the living processes that were started for a run while its lock is held."""
    return living(mark_of(paths.lock))


def signs_of(stage: Stage, paths: RunPaths) -> Callable[[], Sequence[Any]]:
    """Return what reads the signs of a stage: its log, its metrics, its outputs, and what its processes read and wrote.

    Their processor time counts too, of a training only until its steps begin: imports and loading are silent, and
    ranks that wait for each other for ever burn it (NCCL).
    """
    files = (paths.log(stage.name), paths.metrics(stage.name), paths.batches(stage.name), paths.report(stage.name))
    work = _Work()
    steps = _Steps(paths.log(stage.name))

    def signs() -> Sequence[Any]:
        written = [_file(path) for path in files]
        # Beside a folder that comes last, what becomes it: NAME.partial.
        made = [_tree(path) for output in stage.outputs for path in sorted(output.parent.glob(f"{output.name}*"))]
        counts_time = stage.kind != "train" or not steps.began()
        return (*written, *made, work.look(processes(paths), counts_time=counts_time))

    return signs


class _Steps:
    """Whether what a trainer has printed in this try says that its model is loaded and its steps begin."""

    def __init__(self, log: Path) -> None:
        self._log, self._offset, self._began = log, _file(log)[0], False

    def began(self) -> bool:
        """Look at what is new."""
        if not self._began and self._log.is_file():
            with self._log.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
            self._began = was_training(new.decode("utf-8", "replace"))
            self._offset += new.rfind(b"\n") + 1
        return self._began


class _Work:
    """A number that grows while processes compute (where that counts) or read from disk."""

    def __init__(self) -> None:
        self._number = 0
        self._before: dict[int, tuple[int, int]] = {}

    def look(self, found: Sequence[Process], *, counts_time: bool) -> int:
        now = {process.pid: _used(process.pid) for process in found}
        for pid, (ticks, read) in now.items():
            ticks_before, read_before = self._before.get(pid, (0, 0))
            busy = counts_time and ticks - ticks_before > _TICKS
            self._number += busy or read > read_before or pid not in self._before
        self._before = now
        return self._number


def _used(pid: int) -> tuple[int, int]:
    """Return the ticks that a process has computed for, and the bytes that it had read from a disk."""
    ticks = read = 0
    with contextlib.suppress(OSError, ValueError, IndexError):  # it ended while we looked
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        told = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
        read = int(told.partition("\nread_bytes: ")[2].partition("\n")[0])
    return ticks, read


def _file(path: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns
    return 0, 0


def _tree(path: Path) -> tuple[int, int, int]:
    """Return how many files lie there, their bytes together, and when the newest was written."""
    found = [_file(each) for each in (walked(path) if path.is_dir() else (path,))]
    return len(found), sum(size for size, _ in found), max((at for _, at in found), default=0)
