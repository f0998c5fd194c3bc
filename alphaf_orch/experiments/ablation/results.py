"""What an ablation found: its arms as their files tell them, each variant tested against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.experiments.experiment import Arm, Experiment, ExperimentPaths, Outcome
from alphaf_orch.scores.compare import mismatch
from alphaf_orch.scores.difference import Difference, corrected
from alphaf_orch.scores.loaded import RunData, Scored, load_run
from alphaf_orch.scores.rows import is_share
from alphaf_orch.scores.seeds import Pairs, compare, pairs_of

CITATION = "citation_format"  # the article's own measure, whatever a task's main one is
NO_SCORES = Label("점수 없음", "no scores")
Key = tuple[str, str]  # task, metric


@dataclass(frozen=True)
class ArmResult:
    """One arm with how it ended and, where it got so far, its run."""

    arm: Arm
    outcome: Outcome
    run: RunData | None

    def scored(self, stage: str) -> Mapping[str, Scored]:
        """Return the arm's results at a stage by task."""
        return self.run.scored.get(stage, {}) if self.run else {}


class Pair(NamedTuple):
    """An arm's run beside that of the first variant's arm of the same seed."""

    arm: Arm
    before: RunData
    after: RunData


@dataclass(frozen=True)
class Comparison:
    """One variant against the first one, over the seeds under which both were finished."""

    before: str
    after: str
    seeds: tuple[int | None, ...]
    overall: Difference | None
    tasks: Mapping[Key, Difference]
    shares: frozenset[Key] = frozenset()  # shown as percentages, as the overall score is
    refused: Mapping[str, Text] = field(default_factory=dict)  # task -> why it was left out
    titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of the tasks, as stored

    @property
    def tests(self) -> list[Difference]:
        """Every test of the comparison, the overall one first; an overall score of one task is that task's test."""
        return [*([self.overall] if self.overall and _twin(self) is None else []), *self.tasks.values()]


@dataclass(frozen=True)
class AblationResult:
    """An ablation's arms and what their scores say."""

    experiment: Experiment
    stage: str
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]

    def of(self, variant: str) -> list[ArmResult]:
        """Return the arms of a variant in the order of the seeds."""
        return [each for each in self.arms if each.arm.variant == variant]

    def pairs(self, *variants: str) -> list[Pair]:
        """Return each arm of the variants that has a run beside the first variant's arm of the same seed."""
        first = {each.arm.seed: each.run for each in self.of(self.experiment.variants[0])}
        return [
            Pair(each.arm, before, each.run)
            for each in self.arms
            if each.arm.variant in (variants or self.experiment.variants[1:])
            and each.run
            and (before := first[each.arm.seed])
        ]


def read_ablation(experiment: Experiment, paths: ExperimentPaths, outcomes: Sequence[Outcome]) -> AblationResult:
    """Return what is stored about the arms, and the comparisons that it allows."""
    ended = {outcome.arm: outcome for outcome in outcomes}
    arms = []
    for arm in experiment.arms:
        place = paths.arm(arm.name)
        run = load_run(place) if place.manifest.is_file() else None
        arms.append(ArmResult(arm, ended.get(arm.name, Outcome(arm.name, "not started")), run))
    stage = experiment.evaluations[0].stages[-1]
    result = AblationResult(experiment, stage, tuple(arms), ())
    first, *others = experiment.variants
    found = [_compare(result, first, other, stage) for other in others]
    return replace(result, comparisons=tuple(_correct(found)))


def _compare(result: AblationResult, before: str, after: str, stage: str) -> Comparison:
    pairs = [
        (one.arm.seed, one.scored(stage), other.scored(stage))
        for one in result.of(before)
        for other in result.of(after)
        if one.arm.seed == other.arm.seed and one.outcome.state == other.outcome.state == "done"
    ]
    pairs = [pair for pair in pairs if pair[1] and pair[2]]
    if not pairs:
        return Comparison(before, after, (), None, {})
    seeds, first, second = zip(*pairs, strict=True)
    every = [*first, *second]
    refused = {task: reason for task in first[0] if (reason := _refused(task, every))}
    tested: dict[Key, Pairs] = {}
    for task in first[0]:
        if task not in refused:
            tested |= _tested(task, [each[task] for each in first], [each[task] for each in second])
    shares = frozenset(key for key in tested if is_share([each[key[0]] for each in every], key[1]))
    main = [key for key in shares if tested[key].higher_is_better and key[1] == _main(first[0][key[0]])]
    overall, by_key = compare(tested, overall=[key for key in tested if key in main])
    titles = {task: scored.result.title for task, scored in first[0].items()}
    return Comparison(before, after, seeds, overall, by_key, shares, refused, titles)


def _refused(task: str, every: Sequence[Mapping[str, Scored]]) -> Text:
    """Return why the results of a task cannot be compared; empty where they can."""
    reasons = [mismatch(every[0][task], each[task]) if task in each else NO_SCORES for each in every]
    return next((reason for reason in reasons if reason), "")


def _tested(task: str, first: Sequence[Scored], second: Sequence[Scored]) -> dict[Key, Pairs]:
    """Return the rows of the task's main metric and of the citations' form, where the figures are means of rows."""
    metrics = first[0].result.metrics
    wanted = [name for name in metrics if name in (_main(first[0]), CITATION)]
    pairs = {name: pairs_of(first, second, name) for name in wanted if metrics[name].higher_is_better is not None}
    return {(task, name): found for name, found in pairs.items() if found}


def _main(scored: Scored) -> str:
    return next(iter(scored.result.metrics))


def _correct(found: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with Holm's p over all of their tests."""
    family: dict[tuple[str, Key | None], Difference] = {}
    for each in found:
        family |= {(each.after, key): one for key, one in each.tasks.items()}
        if each.overall and _twin(each) is None:
            family[each.after, None] = each.overall
    fixed = corrected(family)
    return [
        replace(
            each,
            overall=fixed.get((each.after, _twin(each))),
            tasks={key: fixed[each.after, key] for key in each.tasks},
        )
        for each in found
    ]


def _twin(comparison: Comparison) -> Key | None:
    """Return the task whose test is the overall score's too: the only one that it is the mean of."""
    return next((key for key, one in comparison.tasks.items() if one == comparison.overall), None)
