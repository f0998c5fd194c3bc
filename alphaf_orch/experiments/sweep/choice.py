"""Which candidate of a sweep is the best, by how much, and what of that the rows can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alphaf_orch.scores.difference import Difference, corrected
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.seeds import Pairs, compare, pairs_of

Scores = Mapping[str, Scored]  # by task


@dataclass(frozen=True)
class Rated:
    """A model of a sweep with its overall score and how it differs from the models it is compared with."""

    name: str
    overall: float  # the mean of the tasks' main metrics, each task of equal weight
    by_task: Mapping[str, float]
    against: Mapping[str, Difference]  # by the name of the other model; p is corrected over the whole sweep


@dataclass(frozen=True)
class Choice:
    """The best candidate, all of them in their order, and the models they are compared with."""

    best: str
    rated: tuple[Rated, ...]
    references: tuple[Rated, ...]
    metrics: Mapping[str, str]  # task -> its main metric
    titles: Mapping[str, Mapping[str, str]]  # of the tasks, as stored
    runner_up: Difference | None  # the best less the second

    def of(self, name: str) -> Rated:
        """Return a model by its name."""
        return next(each for each in (*self.rated, *self.references) if each.name == name)


def main_value(scored: Scored) -> tuple[str, float]:
    """Return a task's main metric and its value, turned round where lower is better."""
    metric, found = next(iter(scored.result.metrics.items()))
    return metric, 1 - found.value if found.higher_is_better is False else found.value


def overall(scores: Scores) -> float:
    """Return the mean of the tasks' main metrics."""
    values = [main_value(scored)[1] for scored in scores.values()]
    return sum(values) / len(values)


def paired(before: Scores, after: Scores) -> Difference | None:
    """Return the paired comparison of two models on the mean of their tasks; None where a score has no row values.

    A merge is no training: its rows are all that could have come out otherwise.
    """
    tasks = {}
    for task, scored in after.items():
        metric, _ = main_value(scored)
        pairs = pairs_of([before[task]], [scored], metric) if task in before else None
        if pairs is None:
            return None
        first, second = pairs.before[0], pairs.after[0]
        if scored.result.metrics[metric].higher_is_better is False:
            first, second = ([1 - value for value in side] for side in (first, second))
        tasks[task] = Pairs([first], [second])
    return compare(tasks, overall=list(tasks), trained=False)[0]


def choose(candidates: Mapping[str, Scores], references: Mapping[str, Scores]) -> Choice:
    """Return the candidate with the highest overall score; of equal ones the first.

    Every candidate is compared with every reference; all these tests, and that of the best with the second, are one
    family under Holm's correction.
    """
    order = sorted(candidates, key=lambda name: -overall(candidates[name]))
    tests = {(name, other): paired(references[other], candidates[name]) for name in candidates for other in references}
    if len(order) > 1:
        tests["", ""] = paired(candidates[order[1]], candidates[order[0]])
    held = corrected({key: found for key, found in tests.items() if found is not None})

    def rated(name: str, scores: Scores) -> Rated:
        values = {task: main_value(scored)[1] for task, scored in scores.items()}
        return Rated(name, overall(scores), values, {o: held[name, o] for o in references if (name, o) in held})

    first = next(iter(candidates.values()))
    return Choice(
        order[0],
        tuple(rated(name, scores) for name, scores in candidates.items()),
        tuple(rated(name, scores) for name, scores in references.items()),
        {task: main_value(scored)[0] for task, scored in first.items()},
        {task: scored.result.title for task, scored in first.items()},
        held.get(("", "")),
    )
