"""Intervals and tests by resampling, on counts of equal rows: as exact as drawing rows, at the cost of few numbers.

Drawing n rows with replacement and counting the equal ones is one multinomial draw; exchanging the two models' results
in rows at random is one binomial draw for each kind of row. So 10,000 rows cost no more than their distinct values.

Rows that share a cluster are drawn and exchanged together: the kinds are then those of clusters (the cluster bootstrap
of Field and Welsh 2007, Journal of the Royal Statistical Society B 69(3)).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alphaf_orch.scores.clusters import grouped

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
    found = _kinds(rows)
    return float(statistic(found.values, found.counts[None, :])[0])


def interval(statistic: Statistic, rows: Sequence[Any], clusters: Sequence[str] | None = None) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the statistic; `clusters` names each row's cluster."""
    found = _kinds(rows, clusters)
    return bootstrap(lambda drawn: statistic(found.values, found.rows(drawn)), found.counts, units=found.effective)


def difference_interval(
    statistic: Statistic, pairs: Sequence[tuple[Any, Any]], clusters: Sequence[str] | None = None
) -> tuple[float, float]:
    """Return the 95% paired bootstrap interval of (second minus first)."""
    found = _kinds(pairs, clusters)

    def moved(drawn: Counts) -> Floats:
        rows = found.rows(drawn)
        return _difference(statistic, found.values, rows, rows * 0)

    return bootstrap(moved, found.counts, units=found.effective)


def bootstrap(
    figures: Callable[[Counts], Floats],
    counts: Counts,
    draws: int = DRAWS,
    seed: int = _SEED,
    units: float | None = None,
) -> tuple[float, float]:
    """Return the 95% expanded percentile interval of the figures, of units that are met `counts` times each.

    The percentiles are those that make the interval of a mean as wide as Student's (Hesterberg 2015, The American
    Statistician 69(4), section 5): plain ones are too narrow for few units. `units` counts unequal clusters less.

    scipy.stats.bootstrap and permutation_test draw the rows themselves: at 1,000 rows 40 and 100 times as slow, and
    the last digits are others than those of reports that are already written.
    """
    import numpy as np

    generator, total = np.random.default_rng(seed), counts.sum()
    drawn = [figures(generator.multinomial(total, counts / total, size=size)) for size in _sizes(draws, len(counts))]
    tail = _tail(float(total) if units is None else units)
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return float(low), float(high)


def _tail(units: float) -> float:
    from scipy.special import ndtr, stdtrit

    if units <= 1:
        return 0.0
    return float(ndtr(-math.sqrt(units / (units - 1)) * stdtrit(units - 1, 0.975)))


def exchange_test(
    statistic: Statistic, pairs: Sequence[tuple[Any, Any]], clusters: Sequence[str] | None = None
) -> float:
    """Return the two-sided p of a paired permutation test: in each row, the two results could be exchanged.

    Of rows that share a cluster all are exchanged or none, so that few clusters cannot give a small p: with c of them
    it is at least 2 / 2^c. For a mean this is the sign-flip test. The smallest p it can give is 1 / (EXCHANGES + 1).
    """
    found = _kinds(pairs, clusters)
    every = found.rows(found.counts[None, :])
    observed = _difference(statistic, found.values, every, every * 0)[0]

    def exchanged(swapped: Counts) -> Floats:
        return _difference(statistic, found.values, found.rows(found.counts - swapped), found.rows(swapped))

    return _exchanged(exchanged, found.counts, observed)


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


@dataclass(frozen=True)
class _Kinds:
    """What rows or clusters there are: the distinct rows, and how often each kind of row, or of cluster, is met."""

    values: list[Any]
    counts: Counts
    members: Any  # sparse, a line a kind of cluster: how often each value is in it; None where each row is its own
    effective: float

    def rows(self, drawn: Counts) -> Counts:
        """Return how often each value is there when so many of each kind are drawn."""
        return drawn if self.members is None else drawn @ self.members


def _kinds(rows: Sequence[Any], clusters: Sequence[str] | None = None) -> _Kinds:
    import numpy as np

    counted = Counter(rows)
    values = list(counted)
    if clusters is None:
        return _Kinds(values, np.array(list(counted.values()), dtype=np.int64), None, float(len(rows)))
    from scipy.sparse import csr_array

    place = {value: at for at, value in enumerate(values)}
    inside: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row, name in zip(rows, clusters, strict=True):
        inside[name][place[row]] += 1
    kinds = Counter(tuple(sorted(each.items())) for each in inside.values())
    cells = [(line, at, many) for line, kind in enumerate(kinds) for at, many in kind]
    lines, columns, many = (np.array(part, dtype=np.int64) for part in zip(*cells, strict=True))
    members = csr_array((many, (lines, columns)), shape=(len(kinds), len(values)))
    return _Kinds(
        values,
        np.array(list(kinds.values()), dtype=np.int64),
        members,
        grouped(len(rows), clusters).effective,
    )


def _sizes(draws: int, width: int) -> list[int]:
    """Return how many draws are made at once, so that memory stays bounded."""
    step = max(1, _AT_ONCE // max(1, width))
    return [min(step, draws - start) for start in range(0, draws, step)]
