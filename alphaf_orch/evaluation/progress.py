"""One line for an lm-eval process, read from its own progress bars: live on a terminal, now and then elsewhere."""

from __future__ import annotations

import re
import time
from pathlib import Path

from rich.console import Console

from alphaf_orch.core.progress import LogLine, clock

_TAIL_BYTES = 4096
# tqdm: `Running generate_until requests:  45%|####5     | 45/100 [00:10<00:12,  4.39it/s]`
_BAR = re.compile(
    r"(Running (?P<kind>\w+) requests|Requesting API):\s+\d+%\|[^|]*\|"
    r" (?P<done>\d+)/(?P<all>\d+) \[[^<]*<(?P<left>[^,]*),"
)


class EvalLine(LogLine):
    """Shows an lm-eval process by the progress bars in its log."""

    def __init__(self, console: Console, name: str, what: str, log: Path, *, verbose: bool) -> None:
        super().__init__(console, f"{name}: {what}, log {log}", log, verbose=verbose)
        self._name, self._what = name, what
        self._bar = ""  # the last one seen

    def _look(self) -> bool:
        bars = [found[0] for found in _BAR.finditer(self._tail())]
        before, self._bar = self._bar, bars[-1] if bars else ""
        return self._bar not in ("", before)

    def line(self) -> str:
        """Return how far it is, by the last progress bar in the log."""
        elapsed = clock(time.monotonic() - self._started)
        bars = list(_BAR.finditer(self._tail()))
        if not bars:
            return f"{self._name}  {self._what}  loading …  ({elapsed})"
        kind = bars[-1]["kind"] or "server"
        return f"{self._name}  {kind} {bars[-1]['done']}/{bars[-1]['all']}  ETA {bars[-1]['left']}  ({elapsed})"

    def _tail(self) -> str:
        if not self.log.is_file():
            return ""
        with self.log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(self._log_begin, size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
