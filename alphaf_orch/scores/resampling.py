"""Intervals and tests by resampling, on counts of equal rows: as exact as drawing rows, at the cost of few numbers.

Drawing n rows with replacement and counting the equal ones is one multinomial draw; exchanging the two models' results
in rows at random is one binomial draw for each kind of row. So 10,000 rows cost no more than their distinct values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    # The values of the distinct rows, and how often each of them was drawn (one line a draw) -> one figure a draw.
    Statistic = Callable[[Sequence[Any], Counts], Floats]

DRAWS = 2_000
EXCHANGES = 9_999
_AT_ONCE = 4_000_000  # numbers held in memory
_SEED = 0


def mean(values: Sequence[float], counts: Counts) -> Floats:
    """Return the mean of each draw."""
    import numpy as np

    found: Floats = counts @ np.asarray(values, dtype=float) / counts.sum(axis=1)
    return found


def macro_f1(values: Sequence[tuple[str, str]], counts: Counts) -> Floats:
    """Return the mean F1 over the classes that a draw has as gold or as answer; a value is (gold, answer)."""
    import numpy as np

    gold = np.array([value[0] for value in values])
    answer = np.array([value[1] for value in values])
    total = np.zeros(len(counts))
    classes = np.zeros(len(counts))
    for name in sorted({*gold, *answer}):
        hit = counts[:, (gold == name) & (answer == name)].sum(axis=1)
        real = counts[:, gold == name].sum(axis=1)
        said = counts[:, answer == name].sum(axis=1)
        total += 2 * hit / np.maximum(real + said, 1)
        classes += real + said > 0
    return total / classes


def point(statistic: Statistic, rows: Sequence[Any]) -> float:
    """Return the statistic of the rows as they are."""
    values, counts = _count(rows)
    return float(statistic(values, counts[None, :])[0])


def interval(statistic: Statistic, rows: Sequence[Any]) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the statistic."""
    values, counts = _count(rows)
    return bootstrap(lambda drawn: statistic(values, drawn), counts)


def difference_interval(statistic: Statistic, pairs: Sequence[tuple[Any, Any]]) -> tuple[float, float]:
    """Return the 95% paired bootstrap interval of (second minus first)."""
    rows, counts = _count(pairs)
    return bootstrap(lambda drawn: _difference(statistic, rows, drawn, drawn * 0), counts)


def bootstrap(
    figures: Callable[[Counts], Floats], counts: Counts, draws: int = DRAWS, seed: int = _SEED
) -> tuple[float, float]:
    """Return the 95% percentile interval of the figures, of rows that are met `counts` times each.

    scipy.stats.bootstrap and permutation_test draw the rows themselves: at 1,000 rows 40 and 100 times as slow, and
    the last digits are others than those of reports that are already written.
    """
    import numpy as np

    generator, total = np.random.default_rng(seed), counts.sum()
    drawn = [figures(generator.multinomial(total, counts / total, size=size)) for size in _sizes(draws, len(counts))]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return float(low), float(high)


def exchange_test(statistic: Statistic, pairs: Sequence[tuple[Any, Any]]) -> float:
    """Return the two-sided p of a paired permutation test: in each row, the two results could be exchanged.

    For a mean this is the sign-flip test. The smallest p it can give is 1 / (EXCHANGES + 1).
    """
    rows, counts = _count(pairs)
    observed = _difference(statistic, rows, counts[None, :], counts[None, :] * 0)[0]
    return _exchanged(lambda swapped: _difference(statistic, rows, counts - swapped, swapped), counts, observed)


def flip_test(parts: Floats) -> float:
    """Return the two-sided p of the sign-flip test on the sum of the parts.

    Of c parts of one size, a random half is added and the rest taken away.
    """
    import numpy as np

    # Rows without a difference change no sum.
    sizes, counts = np.unique(np.abs(parts[parts != 0]).round(12), return_counts=True)
    if not len(sizes):
        return 1.0
    return _exchanged(lambda added: (2 * added - counts) @ sizes, counts, float(parts.sum()))


def _exchanged(figures: Callable[[Counts], Floats], counts: Counts, observed: float) -> float:
    """Return how often the figures are as far from 0 as the observed one, a random half of each kind exchanged."""
    import numpy as np

    generator = np.random.default_rng(_SEED)
    at_least = 0
    for size in _sizes(EXCHANGES, len(counts)):
        swapped = generator.binomial(counts, 0.5, size=(size, len(counts)))
        # Equal sums in another order differ in the last bits.
        at_least += int((np.abs(figures(swapped)) >= abs(observed) - 1e-9).sum())
    return (at_least + 1) / (EXCHANGES + 1)


def _difference(statistic: Statistic, pairs: Sequence[tuple[Any, Any]], kept: Counts, swapped: Counts) -> Floats:
    """Return (second minus first) where `swapped` of the rows have their two results exchanged."""
    import numpy as np

    first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    counts = np.hstack([kept, swapped])
    return statistic([*second, *first], counts) - statistic([*first, *second], counts)


def _count(rows: Sequence[Any]) -> tuple[list[Any], Counts]:
    import numpy as np

    counted = Counter(rows)
    return list(counted), np.array(list(counted.values()), dtype=np.int64)


def _sizes(draws: int, width: int) -> list[int]:
    """Return how many draws are made at once, so that memory stays bounded."""
    step = max(1, _AT_ONCE // max(1, width))
    return [min(step, draws - start) for start in range(0, draws, step)]
