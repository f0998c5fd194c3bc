"""One line for an lm-eval process, read from its own progress bars: live on a terminal, now and then elsewhere."""

from __future__ import annotations

import re
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from alphaf_orch.progress import clock

_PLAIN_EVERY_S = 15.0
_TAIL_BYTES = 4096
# tqdm: `Running generate_until requests:  45%|####5     | 45/100 [00:10<00:12,  4.39it/s]`
_BAR = re.compile(
    r"(Running (?P<kind>\w+) requests|Requesting API):\s+\d+%\|[^|]*\|"
    r" (?P<done>\d+)/(?P<all>\d+) \[[^<]*<(?P<left>[^,]*),"
)


class EvalLine:
    """Shows one process while it runs; use as a context manager and call `poll` often."""

    def __init__(self, console: Console, name: str, what: str, log: Path, *, verbose: bool) -> None:
        self._console, self._name, self._what, self._log, self._verbose = console, name, what, log, verbose
        self._started = time.monotonic()
        self._shown = self._started
        self._offset = log.stat().st_size if log.is_file() else 0
        live = console.is_terminal and not verbose
        self._live = Live(console=console, auto_refresh=False, transient=True) if live else None

    def __enter__(self) -> EvalLine:
        if self._live:
            self._live.__enter__()
        else:
            self._console.print(f"{self._name}: {self._what}, log {self._log}", highlight=False, soft_wrap=True)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._verbose:
            self._stream()
        if self._live:
            self._live.__exit__(None, None, None)

    def poll(self) -> None:
        """Show how far it is, and with -v what the tool has printed since the last call."""
        if self._verbose:
            self._stream()
        if self._live:
            self._live.update(Text(self.line()), refresh=True)
        elif time.monotonic() - self._shown > _PLAIN_EVERY_S:
            self._shown = time.monotonic()
            self._console.print(self.line(), highlight=False, soft_wrap=True)

    def line(self) -> str:
        """Return how far it is, by the last progress bar in the log."""
        elapsed = clock(time.monotonic() - self._started)
        bars = list(_BAR.finditer(self._tail()))
        if not bars:
            return f"{self._name}  {self._what}  loading …  ({elapsed})"
        kind = bars[-1]["kind"] or "server"
        return f"{self._name}  {kind} {bars[-1]['done']}/{bars[-1]['all']}  ETA {bars[-1]['left']}  ({elapsed})"

    def _tail(self) -> str:
        if not self._log.is_file():
            return ""
        with self._log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(self._offset, size - _TAIL_BYTES) if not self._verbose else max(0, size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")

    def _stream(self) -> None:
        if not self._log.is_file():
            return
        with self._log.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        if new:
            self._console.out(new.decode("utf-8", "replace"), end="", highlight=False)
