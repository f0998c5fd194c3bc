"""A clock that goes on only where somebody sleeps, and has things happen at their seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


class Clock:
    """Stands in for the module `time`; whoever would wait for ever is ended."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due: list[tuple[float, Callable[[], Any]]] = []

    def at(self, seconds: float, happens: Callable[[], Any]) -> None:
        """Have something happen so many seconds from the beginning on."""
        self._due.append((1000.0 + seconds, happens))
        self._due.sort(key=lambda pair: pair[0])

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 3000, "it waits for ever"
        while self._due and self._due[0][0] <= self.now:
            self._due.pop(0)[1]()


def stand_in(monkeypatch: pytest.MonkeyPatch, *modules: Any) -> Clock:
    """Put such a clock into modules that wait, and return it."""
    clock = Clock()
    for module in modules:
        monkeypatch.setattr(module, "time", clock)
    return clock
