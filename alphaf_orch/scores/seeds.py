"""Whether two arms differ: a paired test over rows and seeds together, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from alphaf_orch.scores.difference import Difference
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.resampling import flip_test
from alphaf_orch.scores.rows import rows_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Pairs:
    """The scores of two arms on one task: a line a seed, a column a row; line and column mean the same in both."""

    before: Sequence[Sequence[float]]
    after: Sequence[Sequence[float]]
    higher_is_better: bool = True


def pairs_of(before: Sequence[Scored], after: Sequence[Scored], metric: str) -> Pairs | None:
    """Return the rows of a metric in the order of their ids, a result a seed; None where it is not their mean."""
    every = [None if each.repeated_ids else rows_of(each, metric) for each in (*before, *after)]
    found = [rows.values for rows in every if rows and rows.mean]
    if len(found) < len(every) or any(values.keys() != found[0].keys() for values in found):
        return None
    lines = [[values[name] for name in sorted(values)] for values in found]
    higher_is_better = bool(before[0].result.metrics[metric].higher_is_better)
    return Pairs(lines[: len(before)], lines[len(before) :], higher_is_better)


def compare(
    tasks: Mapping[_Key, Pairs], *, overall: Sequence[_Key], trained: bool = True
) -> tuple[Difference | None, dict[_Key, Difference]]:
    """Return the comparison on the mean of the `overall` tasks' scores (None where there are none) and on each task.

    Rows and seeds are both samples: of all rows that might be asked, of all trainings that might have been run. With D
    the difference of the two means over T tasks and S seeds,

        Var(D) = R + Q + E
        R = sum over tasks of var over rows (of the difference, mean over seeds) / n / T^2
        Q = sum over tasks and arms of (what seed and row do together, two-way residual variance) / n / S / T^2
        E = what the seed does to a whole model = (variance between seeds, both arms) / S - Q, at least 0

    R holds Q already. Counted twice, an interval is at most sqrt(2) too wide (as that of the pigeonhole bootstrap: Owen
    2007, Annals of Applied Statistics 1(2)), and two identical arms are told apart in fewer than 5 of 100 experiments,
    however little two seeds say of each term (simulated in tests/scores/test_seeds.py). Two or three seeds say little
    of E, so the mean over all tasks is taken where it is larger. One seed says nothing: the trainings' noise is then
    taken to be as large as the rows' (ours). Where nothing was `trained` (merges of finished models), R is all there
    is.

    t has Satterthwaite's (1946) degrees of freedom. p is the larger one of t's and of a sign-flip test over the rows,
    which needs no normality; it is not corrected yet.
    """
    import numpy as np

    scores = {name: (np.asarray(pairs.before, float), np.asarray(pairs.after, float)) for name, pairs in tasks.items()}
    alone = {name: _noise([pair]) for name, pair in scores.items()}
    pooled = max(0.0, float(np.mean([alone[name].training for name in overall]))) if overall else 0.0
    found = []
    groups = [tuple(overall)] if overall else []
    for names in [*groups, *((name,) for name in tasks)]:
        # What is no share of anything has a noise of its own size.
        shared = (pooled, len(overall)) if set(names) <= set(overall) else (0.0, 1)
        higher = tasks[names[0]].higher_is_better
        found.append(_effect([scores[name] for name in names], shared, higher_is_better=higher, trained=trained))
    by_task = dict(zip(tasks, found[len(groups) :], strict=True))
    return (found[0] if overall else None), by_task


@dataclass(frozen=True)
class _Noise:
    """The variances of a difference of means: R (one a task, with its degrees of freedom), Q and E of `compare`."""

    rows: tuple[tuple[float, int], ...]
    together: float
    training: float


def _noise(tasks: Sequence[tuple[Floats, Floats]]) -> _Noise:
    import numpy as np

    count, seeds = len(tasks), len(tasks[0][0])
    differences = [(after - before).mean(axis=0) for before, after in tasks]
    rows = tuple((float(d.var(ddof=1)) / len(d) / count**2, len(d) - 1) for d in differences if len(d) > 1)
    if seeds < 2:
        return _Noise(rows, sum(variance for variance, _ in rows), 0.0)
    together = 0.0
    for values in (values for pair in tasks for values in pair):
        size = values.shape[1]
        rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
        together += float((rest**2).sum()) / (seeds - 1) / max(1, size - 1) / size / seeds / count**2
    arms = (np.mean([pair[arm].mean(axis=1) for pair in tasks], axis=0) for arm in (0, 1))
    between = sum(float(means.var(ddof=1)) for means in arms) / seeds
    return _Noise(rows, together, between - together)


def _effect(
    tasks: Sequence[tuple[Floats, Floats]], pooled: tuple[float, int], *, higher_is_better: bool, trained: bool
) -> Difference:
    import numpy as np
    from scipy.stats import t as student

    count, seeds = len(tasks), len(tasks[0][0])
    first, second = (np.mean([pair[arm].mean(axis=1) for pair in tasks], axis=0) for arm in (0, 1))
    noise, (common, over) = _noise(tasks), pooled
    many = sum(free for _, free in noise.rows) or 1
    # (variance, degrees of freedom) of each source
    parts = [*noise.rows, *([(noise.together, many * max(1, seeds - 1))] if trained else [])]
    if trained and seeds > 1:
        own = noise.training
        parts.append((own, 2 * (seeds - 1)) if own >= common else (common, 2 * (seeds - 1) * over))
    total = sum(variance for variance, _ in parts)
    mean = float((second - first).mean())
    half, p = 0.0, 1.0 if mean == 0 else 0.0
    if total > 0:
        freedom = total**2 / sum(variance**2 / free for variance, free in parts if variance > 0)
        half = float(student.ppf(0.975, freedom) * np.sqrt(total))
        p = float(2 * student.sf(abs(mean) / np.sqrt(total), freedom))
    by_row = [(after - before).mean(axis=0) for before, after in tasks]
    flipped = flip_test(np.concatenate([values / (len(values) * count) for values in by_row]))
    scores = tuple(map(float, first)), tuple(map(float, second))
    rows = sum(map(len, by_row))
    return Difference(*scores, rows, higher_is_better, mean - half, mean + half, "arms", max(p, flipped))
