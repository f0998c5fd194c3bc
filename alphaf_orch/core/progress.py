"""One line a process: live on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from alphaf_orch.core.line_shapes import MetricsRow
from alphaf_orch.core.masking import mask
from alphaf_orch.core.spoken import spoken
from alphaf_orch.core.stamps import stamped
from alphaf_orch.core.streams import keep_line
from alphaf_orch.programs.json_lines import whole_rows

_PLAIN_EVERY_S = 15.0
RESULTS: WeakSet[Console] = WeakSet()  # consoles of results, whose lines are no progress and bear no time


def clock(seconds: float) -> str:
    """Return seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the metrics written so far; a line still being written, or cut off by a kill, is left out."""
    if not path.is_file():
        return []
    rows = whole_rows(path.read_text(encoding="utf-8", errors="replace"))
    return [row for row in rows if _of_a_training(row)]


def new_metrics(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Return a row for each line that was finished behind the offset, and where the next one begins.

    A line that `read_metrics` leaves out is an empty row: who counts lines goes on counting.
    """
    new = _read_from(path, offset)
    whole = new[: new.rfind(b"\n") + 1]
    lines = (whole_rows(f"{line}\n") for line in whole.decode("utf-8", "replace").split("\n")[:-1])
    return [rows[0] if rows and _of_a_training(rows[0]) else {} for rows in lines], offset + len(whole)


def _of_a_training(row: dict[str, Any]) -> bool:
    """Return whether what is read of a line has the types that were written; a line of others is left out too."""
    try:
        MetricsRow.model_validate(row)
    except ValidationError:
        return False
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_from(path: Path, offset: int) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


def tell(console: Console, text: str, style: str | None = None) -> None:
    """Print a line in the reader's language, with the time where there is no terminal.

    What stands in brackets is no markup, and a path is not broken.
    """
    said = spoken(text) if console.is_terminal or console in RESULTS else stamped(spoken(text))
    console.print(said, style=style, highlight=False, soft_wrap=True, markup=False)


class LogLine(ABC):
    """Shows one process while it runs; use as a context manager and call `poll` often."""

    def __init__(self, console: Console, opening: str, log: Path, *, verbose: bool) -> None:
        self._console, self._opening, self.log, self._verbose = console, opening, log, verbose
        self._started = time.monotonic()
        self._shown = self._started
        self._news = False  # since the last plain line
        # The file goes on over all tries; only what is new is shown, and read only once.
        self._log_begin = self._log_offset = _size(log)
        live = console.is_terminal and not verbose
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
            keep_line(self._opening)
        else:
            tell(self._console, self._opening)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._verbose:
            self._stream(final=True)
        if self._live:
            self._live.__exit__(None, None, None)

    def poll(self) -> None:
        """Show how far it is, and with -v what the tool has printed since the last call."""
        if self._verbose:
            self._stream()
        self._news = self._look() or self._news
        if self._live:
            self._live.update(Text(spoken(self.line())), refresh=True)
        if time.monotonic() - self._shown > _PLAIN_EVERY_S and self._news:
            self._shown, self._news = time.monotonic(), False
            if self._live:  # which is written over, and no line of the run's own log
                keep_line(self.line())
            else:
                tell(self._console, self.line())

    def say(self, text: str) -> None:
        """Print a line of its own."""
        tell(self._console, text)

    def _look(self) -> bool:
        """Read what is new; return whether there is something that is worth a line where no live one is shown."""
        return False

    @abstractmethod
    def line(self) -> str:
        """Return how far it is."""

    def _stream(self, *, final: bool = False) -> None:
        new = self._printed(final=final)
        if new:
            self._console.out(new, end="", highlight=False)

    def _printed(self, *, final: bool) -> str:
        """Return what the tool has printed since the last call."""
        new = _read_from(self.log, self._log_offset)
        if not final:  # a line that is half written could end within a secret
            new = new[: max(new.rfind(b"\n"), new.rfind(b"\r")) + 1]
        self._log_offset += len(new)
        return mask(new.decode("utf-8", "replace"))


class StageLine(LogLine):
    """Shows a stage by the metrics it writes."""

    def __init__(self, console: Console, stage: str, metrics: Path, log: Path, *, verbose: bool) -> None:
        super().__init__(console, f"{stage}: started, log {log}", log, verbose=verbose)
        self._stage, self._metrics = stage, metrics
        self._shown = 0.0  # the first figures are worth a line at once
        self._metrics_offset = _size(metrics)
        self._first: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None

    def _look(self) -> bool:
        rows, self._metrics_offset = new_metrics(self._metrics, self._metrics_offset)
        before = self._last
        for row in rows:
            if "loss" in row:
                self._first = self._first or row
                self._last = row
        return self._last is not before

    def line(self) -> str:
        """Return step, loss, rewards, speed and the time left."""
        elapsed = time.monotonic() - self._started
        first, last = self._first, self._last
        if first is None or last is None:
            return f"{self._stage}  {clock(elapsed)}  working …"
        step, steps = last.get("step"), last.get("max_steps")
        parts = [self._stage] if step is None else [f"{self._stage}  {step}{'' if steps is None else f'/{steps}'}"]
        figures = (("rewards/margins", "margin {:.3f}"), ("rewards/accuracies", "accuracy {:.2f}"))
        if last["loss"] is not None:
            parts.append(f"loss {last['loss']:.3f}")
        parts += [form.format(last[key]) for key, form in figures if last.get(key) is not None]
        if last.get("tokens_per_s"):
            parts.append(f"{last['tokens_per_s']:.0f} tokens/s")
        left = time_left(first, last)
        if left is not None:
            parts.append(f"ETA {clock(left)}")
        parts.append(f"({clock(elapsed)})")
        return "  ".join(parts)


def time_left(first: Mapping[str, Any], last: Mapping[str, Any]) -> float | None:
    """Return the seconds to the last step at the pace between two rows; None where they do not tell."""
    told = [row.get(key) for row in (first, last) for key in ("time", "step")]
    steps = last.get("max_steps")
    if steps is None or None in told or first["step"] == last["step"]:
        return None
    rate = (last["time"] - first["time"]) / (last["step"] - first["step"])
    left = max(0.0, rate * (steps - last["step"]))
    return left if math.isfinite(left) else None
