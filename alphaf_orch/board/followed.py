"""A stage followed from outside: its curves, how far it is, what it prints; only what is new is ever read."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.core.file_kinds import NotAFile, open_file
from alphaf_orch.core.masking import mask
from alphaf_orch.core.progress import new_metrics, time_left
from alphaf_orch.core.tail import on_paper
from alphaf_orch.core.values import finite

# What is drawn, in the order in which it is shown; a row has those that its trainer logs.
FIGURES = (
    "loss", "eval_loss", "rewards/margins", "rewards/accuracies", "learning_rate", "grad_norm", "tokens_per_s",
)  # fmt: skip
MOST_POINTS = 4000  # ours: some screens wide; of more, every other one is left out
_MOST_BYTES = 256 << 20  # ours: of metrics at a time, some million rows; a file with more is none that a trainer wrote
_TAIL_BYTES = 32 << 10
_LINE_CHARS = 2000  # ours: what a person reads of one line


@dataclass(frozen=True)
class Point:
    """One logged row: at which step, when (seconds since the epoch), and its figures, finite ones alone."""

    step: int
    time: float | None
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """The points of a stage behind a place that an earlier look returned as `at`.

    Where `anew`, they are all there are: what was known before is to be forgotten (the first look, a training that
    went back to a checkpoint, a curve that was thinned).
    """

    points: tuple[Point, ...]
    at: str
    anew: bool


@dataclass(frozen=True)
class Progress:
    """How far a stage is by its newest rows; what no row says is None. `eta_s` counts from `time`, in seconds."""

    step: int | None = None
    max_steps: int | None = None
    time: float | None = None
    eta_s: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class Followed:
    """The metrics of one stage, read once and then onwards; safe to ask from several threads."""

    def __init__(self, metrics: Path) -> None:
        self._path = metrics
        self._turn = threading.Lock()
        self._file: tuple[int, int] | None = None
        self._life = 0
        self._forget()

    def _forget(self) -> None:
        self._life += 1
        self._offset = 0
        self._points: list[Point] = []
        self._max_steps: int | None = None

    def advance(self) -> None:
        """Read what is new."""
        with self._turn:
            self._advance()

    def curve(self, at: str = "") -> Curve:
        """Return the points behind `at`, all of them for what no look returned."""
        with self._turn:
            self._advance()
            life, _, count = at.partition(".")
            known = life == str(self._life) and count.isdecimal() and int(count) <= len(self._points)
            begin = int(count) if known else 0
            return Curve(tuple(self._points[begin:]), self.at, anew=not known)

    @property
    def at(self) -> str:
        """How far the curve has come, as of the last time that it was read."""
        return f"{self._life}.{len(self._points)}"

    def progress(self, since: float) -> Progress:
        """Return how far it is by the rows that were written since a try began (seconds since the epoch)."""
        with self._turn:
            ours = [point for point in self._points if point.time is None or point.time >= since]
            if not ours:
                return Progress()
            last = ours[-1]
            logged = [point for point in ours if "loss" in point.figures]
            newest = {name: value for point in ours[-50:] for name, value in point.figures.items()}
            left = time_left(self._row(logged[0]), self._row(logged[-1])) if logged else None
            return Progress(last.step, self._max_steps, last.time, left, newest)

    def _row(self, point: Point) -> dict[str, Any]:
        return {"step": point.step, "time": point.time, "max_steps": self._max_steps}

    def _advance(self) -> None:
        try:
            found = self._path.stat()
        except OSError:
            self._file = None
            if self._points or self._offset:
                self._forget()
            return
        if self._file is not None and (found.st_ino != self._file[0] or found.st_size < self._offset):
            self._forget()  # another file has its name, or it was cut
        if self._file == (found.st_ino, found.st_size):
            return
        self._file = (found.st_ino, found.st_size)
        if found.st_size - self._offset > _MOST_BYTES:
            return
        rows, self._offset = new_metrics(self._path, self._offset)
        for row in rows:
            self._add(row)
        if len(self._points) > MOST_POINTS:
            self._thin()

    def _add(self, row: Mapping[str, Any]) -> None:
        step = row.get("step")
        if step is None:
            return
        if row.get("max_steps") is not None:
            self._max_steps = row["max_steps"]
        if self._points and step < self._points[-1].step:
            # It went back to a checkpoint: what came behind that is no part of these weights.
            self._points = [point for point in self._points if point.step < step]
            self._life += 1
        figures = {name: float(row[name]) for name in FIGURES if finite(row.get(name))}
        self._points.append(Point(step, row.get("time"), figures))

    def _thin(self) -> None:
        while len(self._points) > MOST_POINTS // 2:
            kept = self._points[::2]
            self._points = [*kept, *([] if kept[-1] is self._points[-1] else [self._points[-1]])]
        self._life += 1


def tail(log: Path, lines: int = 200) -> tuple[str, ...]:
    """Return the last lines of a log as they would stand on paper, secrets masked; empty where there is none yet."""
    try:
        with open_file(log) as file:
            size = file.seek(0, 2)
            start = max(0, size - _TAIL_BYTES)
            file.seek(start)
            data = file.read(_TAIL_BYTES)
    except (OSError, NotAFile):
        return ()
    if start:  # a line without its beginning may hold a secret that is not known by its half
        data = data[next((at + 1 for at, letter in enumerate(data) if letter in b"\r\n"), len(data)) :]
    shown = mask(on_paper(data)).split("\n")
    cut = [line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]} …" for line in shown]
    while cut and not cut[-1].strip():
        cut.pop()
    return tuple(cut[-lines:])
