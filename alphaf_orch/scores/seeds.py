"""Whether two arms differ: a paired test over rows and seeds together, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from alphaf_orch.scores.bounds import SHARE_DIFFERENCE, held
from alphaf_orch.scores.clusters import Grouping, grouped
from alphaf_orch.scores.difference import Difference, Errors, agreeing
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.resampling import flip_test
from alphaf_orch.scores.rows import rows_of
from alphaf_orch.scores.significance import student

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
    clusters: Sequence[str] | None = None  # each row's cluster; None where each row is one of its own


def pairs_of(before: Sequence[Scored], after: Sequence[Scored], metric: str) -> Pairs | None:
    """Return the rows of a metric in the order of their ids, a result a seed; None where it is not their mean."""
    every = [None if each.repeated_ids else rows_of(each, metric) for each in (*before, *after)]
    found = [rows for rows in every if rows and rows.mean]
    if len(found) < len(every) or any(rows.values.keys() != found[0].values.keys() for rows in found):
        return None
    names = sorted(found[0].values)
    lines = [[rows.values[name] for name in names] for rows in found]
    higher_is_better = bool(before[0].result.metrics[metric].higher_is_better)
    # Results stored before their task had clusters are of the same rows as those stored since.
    labels = next((labels for rows in found if (labels := rows.labels(names))), None)
    return Pairs(lines[: len(before)], lines[len(before) :], higher_is_better, labels)


def compare(
    tasks: Mapping[_Key, Pairs], *, overall: Sequence[_Key], trained: bool = True
) -> tuple[Difference | None, dict[_Key, Difference]]:
    """Return the comparison on the mean of the `overall` tasks' scores (None where there are none) and on each task.

    Rows and seeds are both samples: of all rows that might be asked, of all trainings that might have been run. With D
    the difference of the two means over T tasks and S seeds,

        Var(D) = R + S - Q
        R = sum over tasks of var (CR3 over clusters, of the difference, mean over seeds) / T^2
        S = (variance between seeds, both arms) / S
        Q = sum over tasks and arms of (what seed and cluster do together, two-way residual variance) / S / T^2

    R and S both hold Q, so it is taken off once (Cameron, Gelbach and Miller 2011, Journal of Business and Economic
    Statistics 29(2)), but S - Q is at least Q / 2 (ours, by simulation: docs/ablation.md), and of two seeds nothing is
    taken off: they say too little of S. What the tasks' trainings differ by on average is taken where it is larger. One
    seed says nothing of it: S is then taken to be as large as R (ours),
    and the verdict says no more than that the rows differ. Where nothing was `trained` (merges of finished models), R
    is all there is.

    t has Satterthwaite's (1946) degrees of freedom: for R clusters less one (Kish's number of them, where they are
    unequal), for S seeds less one, the least that Welch's (1947) can be. p is the larger one of t's and of a sign-flip
    test over whole clusters, which needs no normality; it is not corrected yet.
    """
    arms = {name: _arms(pairs) for name, pairs in tasks.items()}
    noise = {name: _noise([arms[name]]) for name in overall}
    pooled = max(0.0, sum(each.training for each in noise.values()) / len(noise)) if noise else 0.0

    def effect(names: Sequence[_Key], shared: float) -> Difference:
        higher = tasks[names[0]].higher_is_better
        return _effect([arms[name] for name in names], shared, higher_is_better=higher, trained=trained)

    # What is no share of anything has a noise of its own size; the tasks' trainings may differ each on its own.
    by_task = {name: effect([name], pooled if name in overall else 0.0) for name in tasks}
    return (effect(list(overall), pooled / len(overall)) if overall else None), by_task


@dataclass(frozen=True)
class _Arms:
    """One task's scores as arrays, and its clusters."""

    before: Floats
    after: Floats
    group: Grouping

    @property
    def moved(self) -> Floats:
        """The difference of each row, mean over the seeds."""
        found: Floats = (self.after - self.before).mean(axis=0)
        return found


def _arms(pairs: Pairs) -> _Arms:
    import numpy as np

    before, after = np.asarray(pairs.before, float), np.asarray(pairs.after, float)
    return _Arms(before, after, grouped(before.shape[1], pairs.clusters))


@dataclass(frozen=True)
class _Noise:
    """The variances of a difference of means: R (one a task, with its degrees of freedom), the seeds' own, and Q."""

    rows: tuple[tuple[float, float], ...]
    seeds: float
    together: float

    @property
    def training(self) -> float:
        """What the seed does to a whole model, of which too few seeds can make less than nothing."""
        return self.seeds - self.together

    def of_trainings(self, shared: float, seeds: int) -> tuple[float, float]:
        """Return the variance that the trainings add to R, and what of it is as uncertain as the seeds are few."""
        if seeds == 2:
            # What S is lifted to is known better than what the two say (ours, simulated).
            return max(self.seeds, self.together + shared), max(self.seeds, self.together)
        own = max(self.training, shared, 0.0)
        return max(own, self.together / 2), own


def _noise(tasks: Sequence[_Arms]) -> _Noise:

    count, seeds = len(tasks), len(tasks[0].before)
    rows = tuple(
        (float(arms.group.variance(arms.moved - arms.moved.mean())) / count**2, max(1.0, arms.group.effective - 1))
        for arms in tasks
        if arms.group.many > 1
    )
    if seeds < 2:
        same = sum(variance for variance, _ in rows)
        return _Noise(rows, same, same)
    together = 0.0
    for arms in tasks:
        for values in (arms.before, arms.after) if arms.group.many > 1 else ():
            rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
            together += float(arms.group.variance(rest).sum()) / (seeds - 1) / seeds / count**2
    if all((arms.before == arms.after).all() for arms in tasks):
        return _Noise(rows, 0.0, 0.0)  # the two answered alike under every seed: nothing was trained otherwise
    between = sum(float(_means(tasks, after=after).var(ddof=1)) for after in (False, True))
    return _Noise(rows, between / seeds, together)


def _means(tasks: Sequence[_Arms], *, after: bool) -> Floats:
    """Return an arm's score of each seed: the mean over the tasks."""
    import numpy as np

    found: Floats = np.mean([(arms.after if after else arms.before).mean(axis=1) for arms in tasks], axis=0)
    return found


def _effect(tasks: Sequence[_Arms], shared: float, *, higher_is_better: bool, trained: bool) -> Difference:
    import numpy as np
    from scipy.special import stdtr

    seeds, count = len(tasks[0].before), len(tasks)
    first, second = (_means(tasks, after=after) for after in (False, True))
    noise, mean = _noise(tasks), float((second - first).mean())
    # (variance, degrees of freedom) of each source
    parts = list(noise.rows)
    if trained and seeds > 1:
        parts.append((noise.of_trainings(shared, seeds)[0], float(seeds - 1)))
    elif trained:
        parts += noise.rows
    total, known = sum(variance for variance, _ in parts), len(noise.rows) == count
    half, p, freedom = 0.0, 1.0 if mean == 0 or not known else 0.0, 1e9
    if total > 0 and known:
        doubt = list(parts)
        if trained and seeds > 1:
            doubt[-1] = (noise.of_trainings(shared, seeds)[1], float(seeds - 1))
        freedom = total**2 / max(sum(variance**2 / free for variance, free in doubt), 1e-300)
        half = student(freedom) * float(np.sqrt(total))
        p = float(2 * stdtr(freedom, -abs(mean) / np.sqrt(total)))
    flipped = flip_test(np.concatenate([each.group.sums(each.moved) / (each.moved.size * count) for each in tasks]))
    found = Difference(
        tuple(map(float, first)),
        tuple(map(float, second)),
        sum(each.moved.size for each in tasks),
        higher_is_better,
        kind="arms",
        p=max(p, flipped),
        clusters=sum(each.group.many for each in tasks) if any(_shared(each) for each in tasks) else 0,
        one_seed=trained and seeds == 1,
        errors=_errors(tasks, noise, parts[-1][0] if trained and seeds > 1 else 0.0 if not trained else None, freedom),
    )
    return agreeing(_with_interval(found, tasks, half if known else None))


def _shared(arms: _Arms) -> bool:
    return arms.group.many < arms.moved.size


def _with_interval(found: Difference, tasks: Sequence[_Arms], half: float | None) -> Difference:
    """Return the difference with its interval; with none where its size cannot be told."""
    mean = found.estimate
    ends = (mean - half, mean + half) if half is not None else (-1.0, 1.0)
    if all(arms.min() >= 0 and arms.max() <= 1 for each in tasks for arms in (each.before, each.after)):
        # Kish's number of clusters where each task has the same weight, whatever its size.
        units = len(tasks) ** 2 / sum(1 / each.group.effective for each in tasks)
        ends = held(ends, mean, units, SHARE_DIFFERENCE)
    elif half is None or half == 0:
        return found
    return replace(found, low=ends[0], high=ends[1])


def _errors(tasks: Sequence[_Arms], noise: _Noise, seeds: float | None, freedom: float) -> Errors | None:
    if len(noise.rows) < len(tasks):
        return None
    alone = 0.0
    for each in tasks:
        own = grouped(each.moved.size, None)
        alone += float(own.variance(each.moved - each.moved.mean())) / len(tasks) ** 2
    clusters = sum(variance for variance, _ in noise.rows)
    together = noise.together**0.5 if seeds else 0.0
    return Errors(alone**0.5, clusters**0.5, None if seeds is None else seeds**0.5, together, freedom)
