"""Which difference a comparison can see: of a finished one, and of one that is planned.

The smallest difference that is found with a given power is (t of the test's level + t of the power) standard errors:
Bloom 1995, Minimum Detectable Effects, Evaluation Review 19(5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alphaf_orch.scores.difference import Difference
from alphaf_orch.scores.significance import SIGNIFICANT, Z95

POWER = 0.8  # the field's custom (Cohen 1988, Statistical Power Analysis, section 2.4)
Source = tuple[float, float]  # a variance of the difference, and its degrees of freedom
_KNOWN = 1e9  # degrees of freedom of a variance that is taken as it is
_MOST = 1e6  # times the rows: whoever needs more cannot get them


@dataclass(frozen=True)
class Basis:
    """What is known before a comparison of two trainings, of the difference of their overall scores (0 to 1)."""

    rows: int
    units: float  # how many independent rows those are
    row_variance: float  # of the difference between one training and another, by the choice of rows alone
    seed_variance: float | None = None  # of the same, by the seeds alone; None: not known


def smallest_seen(sources: Sequence[Source], tests: int = 1) -> float:
    """Return the smallest difference found with POWER at SIGNIFICANT, shared out among so many tests (Bonferroni).

    Degrees of freedom are Satterthwaite's, as in the test itself (seeds.compare).
    """
    from scipy.special import stdtrit

    total = sum(variance for variance, _ in sources)
    if total == 0:
        return 0.0
    freedom = max(1.0, total**2 / sum(variance**2 / free for variance, free in sources))
    level, power = (float(stdtrit(freedom, q)) for q in (1 - SIGNIFICANT / tests / 2, POWER))
    return (level + power) * math.sqrt(total)


def could_see(found: Difference) -> float | None:
    """Return which difference a finished comparison could have seen; None where its noise is not known.

    Where each of the two was trained once, the noise of the seeds is taken to be as large as that of the rows.
    """
    errors = found.errors
    if errors is not None and errors.clusters is not None:
        seeds = errors.clusters if errors.seeds is None else errors.seeds
        error = math.hypot(errors.clusters, seeds)
        if error > 0:
            return smallest_seen([(error**2, errors.freedom)], found.tests)
    if found.low is None or found.high is None:
        return None
    return smallest_seen([(((found.high - found.low) / 2 / Z95) ** 2, _KNOWN)], found.tests)


def planned(basis: Basis, seeds: int, tests: int = 1, times: float = 1.0) -> float:
    """Return the smallest difference that so many seeds and `times` the rows would show."""
    rows = (basis.row_variance / times, max(1.0, basis.units * times - 1))
    if seeds == 1:
        return smallest_seen([rows, rows], tests)
    seed = basis.row_variance if basis.seed_variance is None else basis.seed_variance
    return smallest_seen([rows, (seed / seeds, 2.0 * (seeds - 1))], tests)


def rows_needed(basis: Basis, seeds: int, wanted: float, tests: int = 1) -> int | None:
    """Return how many rows like these would show the difference under so many seeds; None where none would."""
    low, high = 1.0 / basis.rows, _MOST
    if planned(basis, seeds, tests, high) > wanted:
        return None
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if planned(basis, seeds, tests, middle) <= wanted else (middle, high)
    return math.ceil(high * basis.rows)
