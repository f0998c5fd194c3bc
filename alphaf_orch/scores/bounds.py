"""Intervals that are never of width zero and never leave the range that a figure can have."""

from __future__ import annotations

import math

from alphaf_orch.scores.significance import Z95

Range = tuple[float, float]
SHARE: Range = (0.0, 1.0)
SHARE_DIFFERENCE: Range = (-1.0, 1.0)


def score_interval(mean: float, variance: float, units: float, quantile: float) -> tuple[float, float]:
    """Return the 95% score interval of a share whose mean has this variance, over so many independent units.

    Wilson's interval with the variance and number that clusters leave (Dean and Pagano 2015, Journal of Survey
    Statistics and Methodology 3(4)): with variance mean (1 - mean) / units and the normal quantile it is Wilson's.
    """
    shrunk = 1 + Z95**2 / units
    middle = (mean + Z95**2 / (2 * units)) / shrunk
    half = math.sqrt(quantile**2 * variance + Z95**4 / (4 * units**2)) / shrunk
    # Rounding must not put a mean at an end of the range outside its interval.
    return within(min(middle - half, mean), max(middle + half, mean), SHARE)


def held(interval: tuple[float, float], figure: float, units: float, span: Range) -> tuple[float, float]:
    """Return the interval widened to what z^2 more units at either end of the range would make of the figure.

    That is all that Wilson's interval of a share, and Tango's (1998, Statistics in Medicine 17(8)) of a paired
    difference without a discordant pair, say where nothing varies: rows that all agree do not prove that the next will.
    """
    weight = units / (units + Z95**2)
    low, high = (weight * figure + (1 - weight) * end for end in span)
    return within(min(interval[0], low), max(interval[1], high), span)


def within(low: float, high: float, span: Range) -> tuple[float, float]:
    """Return the interval cut to the range."""
    return max(span[0], low), min(span[1], high)
