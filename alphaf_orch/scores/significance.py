"""Intervals and tests that are exact: Wilson, McNemar, and Holm's correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence

SIGNIFICANT = 0.05  # a corrected p below it counts as a difference
Z95 = 1.959963984540054  # 95% of a normal distribution lie within so many standard errors


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def student(freedom: float) -> float:
    """Return the quantile that holds 95% of Student's distribution; degrees of freedom below one count as one."""
    from scipy.special import stdtrit

    return float(stdtrit(max(1.0, freedom), 0.975))


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p of McNemar's exact test: only rows in which the two models differ say anything."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected by Holm's step-down method for all tests of the family, in their order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, (len(order) - rank) * p_values[i])
        corrected[i] = min(1.0, running)
    return corrected
