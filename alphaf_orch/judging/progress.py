"""One line while a judge is asked: live on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from alphaf_orch.core.progress import clock, tell
from alphaf_orch.judging.pool import Failures, Outcome

_PLAIN_EVERY_S = 15.0


class JudgeLine:
    """Shows how far a judge has come; use as a context manager, `add` each outcome and `show` it now and then."""

    def __init__(self, console: Console, title: str, total: int, kept: int, unanswered: Failures) -> None:
        self._console, self._title, self._total, self._kept = console, title, total, kept
        self._unanswered = unanswered
        self._done = self._unreadable = self._refused = self._tokens = 0
        self._started = self._shown = time.monotonic()
        self._told = self._counts()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> JudgeLine:
        if self._live:
            self._live.__enter__()
        self._print(f"{self._title}: {self._total} questions" + (f", {self._kept} kept" if self._kept else ""))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(None, None, None)
        self._print(self._line())

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self._done += 1
        self._tokens += sum((outcome.usage or {}).values())
        self._refused += outcome.refused is not None
        self._unreadable += outcome.verdict is None and outcome.refused is None

    def show(self) -> None:
        """Show how far it is: at once on a terminal, every 15 seconds elsewhere."""
        if self._live:
            self._live.update(Text(self._line()), refresh=True)
        elif time.monotonic() - self._shown > _PLAIN_EVERY_S and self._counts() != self._told:
            self._shown, self._told = time.monotonic(), self._counts()
            self._print(self._line())

    def _counts(self) -> tuple[int, ...]:
        return (self._done, self._tokens, self._unreadable, self._refused, self._unanswered.count)

    def _print(self, text: str) -> None:
        tell(self._console, text)

    def _line(self) -> str:
        elapsed = time.monotonic() - self._started
        left = self._total - self._kept - self._done - self._unanswered.count
        parts = [f"{self._title}: {self._kept + self._done}/{self._total}", f"{self._tokens:,} tokens"]
        if self._unreadable:
            parts.append(f"{self._unreadable} unreadable")
        if self._refused:
            parts.append(f"{self._refused} refused")
        if self._unanswered.count:
            parts.append(f"{self._unanswered.count} unanswered")
        if self._done and left:
            parts.append(f"ETA {clock(elapsed / self._done * left)}")
        return "  ".join([*parts, f"({clock(elapsed)})"])
