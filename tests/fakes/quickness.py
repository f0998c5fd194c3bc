"""What a program takes on a core of its own, measured where others are at work too."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable


def slowness() -> float:
    """Return how many times slower than an idle core this one is now, at least 1: a busy host slows CPU seconds too."""
    started, total = time.process_time(), 0
    for number in range(5_000_000):
        total += number * number
    return max(1.0, (time.process_time() - started) / 0.3)  # what that takes on the core that bounds are meant for


def children_s() -> float:
    """Return the CPU seconds of all that this process started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def quickest(run: Callable[[], object], bound: float, clock: Callable[[], float], tries: int = 3) -> list[float]:
    """Return the seconds that `run` takes by a clock and by an idle core's measure, of each try.

    A busy host only ever adds to a measurement: the first try below the bound says that it can be, and is the last.
    """
    seconds: list[float] = []
    while len(seconds) < tries and min(seconds, default=bound) >= bound:
        slow, before = slowness(), clock()
        run()
        seconds.append((clock() - before) / max(slow, slowness()))
    return seconds
