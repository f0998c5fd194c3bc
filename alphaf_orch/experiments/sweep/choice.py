"""Which candidate of a sweep is the best, by how much, and what of that the rows can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.seeds import Effect, Pairs, compare, corrected

Scores = Mapping[str, Scored]  # by task


@dataclass(frozen=True)
class Rated:
    """A model of a sweep with its overall score and how it differs from the models it is compared with."""

    name: str
    overall: float  # the mean of the tasks' main metrics, each task of equal weight
    by_task: Mapping[str, float]
    against: Mapping[str, Effect]  # by the name of the other model; p is corrected over the whole sweep


@dataclass(frozen=True)
class Choice:
    """The best candidate, all of them in their order, and the models they are compared with."""

    best: str
    rated: tuple[Rated, ...]
    references: tuple[Rated, ...]
    metrics: Mapping[str, str]  # task -> its main metric
    runner_up: Effect | None  # the best less the second

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


def paired(before: Scores, after: Scores) -> Effect | None:
    """Return the paired comparison of two models on the mean of their tasks; None where a score has no row values.

    A merge is no training: its rows are all that could have come out otherwise.
    """
    tasks = {}
    for task, scored in after.items():
        metric, _ = main_value(scored)
        if task not in before:
            return None
        mine, theirs = scored.scores.get(metric, {}), before[task].scores.get(metric, {})
        if not mine or mine.keys() != theirs.keys() or len(mine) != scored.result.n:
            return None
        lower = scored.result.metrics[metric].higher_is_better is False
        rows = [[1 - value if lower else value for value in (side[i] for i in sorted(mine))] for side in (theirs, mine)]
        tasks[task] = Pairs([rows[0]], [rows[1]])
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
    done = [(key, found) for key, found in tests.items() if found is not None]
    held = dict(zip([key for key, _ in done], corrected([found for _, found in done]), strict=True))

    def rated(name: str, scores: Scores) -> Rated:
        values = {task: main_value(scored)[1] for task, scored in scores.items()}
        return Rated(name, overall(scores), values, {o: held[name, o] for o in references if (name, o) in held})

    first = next(iter(candidates.values()))
    return Choice(
        order[0],
        tuple(rated(name, scores) for name, scores in candidates.items()),
        tuple(rated(name, scores) for name, scores in references.items()),
        {task: main_value(scored)[0] for task, scored in first.items()},
        held.get(("", "")),
    )


def explained(choice: Choice) -> list[str]:
    """Return in sentences what was chosen and what the scores can and cannot show."""
    best = choice.of(choice.best)
    tasks = ", ".join(f"{task} {metric}" for task, metric in choice.metrics.items())
    told = [f"chosen: {best.name}, overall {best.overall:.3f}: the highest mean of {tasks}, each task of equal weight"]
    if choice.runner_up is not None:
        second = sorted(choice.rated, key=lambda each: -each.overall)[1]
        told.append(f"against the second, {second.name} ({second.overall:.3f}): {said(choice.runner_up)}")
    for other in choice.references:
        found = best.against.get(other.name)
        words = said(found) if found else f"{best.overall - other.overall:+.3f}, not tested: no values by row"
        told.append(f"against {other.name} ({other.overall:.3f}): {words}")
    return told


def said(found: Effect) -> str:
    """Return a difference with its interval, its corrected p and the verdict."""
    words = {"better": "better", "worse": "worse", "none": "no difference shown"}
    p = found.p if found.p_holm is None else found.p_holm
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], p {p:.3f}: {words[found.verdict]}"
