"""A figure that is not known exactly: the likely value with the interval that it is expected in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """A likely value between a low and a high one, all in one unit."""

    value: float
    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        """Return the sum; the ends are added, as if what is off were off the same way in both."""
        return Range(self.value + other.value, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Range:
        """Return the range of a multiple."""
        return Range(self.value * factor, self.low * factor, self.high * factor)

    def by(self, other: Range) -> Range:
        """Return the product of two ranges of positive figures, ends with ends."""
        return Range(self.value * other.value, self.low * other.low, self.high * other.high)

    def under(self, amount: float) -> Range:
        """Return `amount` divided by a range of positive figures: the time for it at that speed."""
        return Range(amount / self.value, amount / self.high, amount / self.low)

    def at_most(self, limit: float) -> Range:
        """Return the range with nothing above `limit`."""
        return Range(min(self.value, limit), min(self.low, limit), min(self.high, limit))

    def about(self, share: float) -> Range:
        """Return the range, at least `share` of its value wide to either side."""
        return Range(self.value, min(self.low, self.value / (1 + share)), max(self.high, self.value * (1 + share)))


def exactly(value: float) -> Range:
    """Return a value that is known."""
    return Range(value, value, value)


NOTHING = exactly(0)


def total(parts: Iterable[Range]) -> Range:
    """Return the sum of ranges."""
    return sum(parts, NOTHING)


def total_if_known(parts: Iterable[Range | None]) -> Range | None:
    """Return the sum of ranges; None where one of them is not known."""
    found = list(parts)
    known = [part for part in found if part is not None]
    return total(known) if len(known) == len(found) else None
