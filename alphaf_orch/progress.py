"""One line a stage: live on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

_PLAIN_EVERY_S = 15.0


def clock(seconds: float) -> str:
    """Return seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the metrics written so far; a last line still being written is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.strip()]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_from(path: Path, offset: int) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


class StageLine:
    """Shows one stage while it runs; use as a context manager and call `poll` often."""

    def __init__(self, console: Console, stage: str, metrics: Path, log: Path, *, verbose: bool) -> None:
        self._console, self._stage, self._metrics, self._log = console, stage, metrics, log
        self._verbose = verbose
        self._started = time.monotonic()
        self._shown = 0.0
        # Both files go on over all tries; only what is new is shown, and read only once.
        self._log_offset, self._metrics_offset = _size(log), _size(metrics)
        self._first: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True) if self._is_live() else None

    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._verbose

    def __enter__(self) -> StageLine:
        if self._live:
            self._live.__enter__()
        else:
            self._console.print(f"{self._stage}: started, log {self._log}", highlight=False, soft_wrap=True)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._verbose:
            self._stream()
        if self._live:
            self._live.__exit__(None, None, None)

    def poll(self) -> None:
        """Show the newest figures, and with -v what the tool has printed since the last call."""
        if self._verbose:
            self._stream()
        self._read_metrics()
        if self._live:
            self._live.update(Text(self._line()), refresh=True)
        elif time.monotonic() - self._shown > _PLAIN_EVERY_S and self._last:
            self._shown = time.monotonic()
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    def _read_metrics(self) -> None:
        new = _read_from(self._metrics, self._metrics_offset)
        whole = new[: new.rfind(b"\n") + 1]
        self._metrics_offset += len(whole)
        for line in whole.splitlines():
            row = json.loads(line)
            if "loss" in row:
                self._first = self._first or row
                self._last = row

    def _stream(self) -> None:
        new = _read_from(self._log, self._log_offset)
        self._log_offset += len(new)
        if new:
            self._console.out(new.decode("utf-8", "replace"), end="", highlight=False)

    def _line(self) -> str:
        elapsed = time.monotonic() - self._started
        first, last = self._first, self._last
        if first is None or last is None:
            return f"{self._stage}  {clock(elapsed)}  working …"
        parts = [f"{self._stage}  {last['step']}/{last['max_steps']}"]
        if last["loss"] is not None:
            parts.append(f"loss {last['loss']:.3f}")
        if last.get("rewards/margins") is not None:
            parts.append(f"margin {last['rewards/margins']:.3f}  accuracy {last['rewards/accuracies']:.2f}")
        if last.get("tokens_per_s"):
            parts.append(f"{last['tokens_per_s']:.0f} tokens/s")
        done = last["step"] - first["step"]
        if done:
            rate = (last["time"] - first["time"]) / done
            parts.append(f"ETA {clock(max(0.0, rate * (last['max_steps'] - last['step'])))}")
        parts.append(f"({clock(elapsed)})")
        return "  ".join(parts)
