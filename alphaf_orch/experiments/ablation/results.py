"""What an ablation found: its arms as their files tell them, each variant tested against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.experiments.experiment import Arm, Experiment, ExperimentPaths, Outcome
from alphaf_orch.scores.compare import mismatch
from alphaf_orch.scores.loaded import RunData, Scored, load_run
from alphaf_orch.scores.names import TASKS
from alphaf_orch.scores.seeds import Effect, Pairs, compare, corrected

CITATION = "citation_format"  # the article's own measure, whatever a task's main one is
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


@dataclass(frozen=True)
class Comparison:
    """One variant against the first one, over the seeds under which both were finished."""

    before: str
    after: str
    seeds: tuple[int | None, ...]
    overall: Effect | None
    tasks: Mapping[Key, Effect]
    refused: tuple[Text, ...] = ()

    @property
    def effects(self) -> list[Effect]:
        """Every test of the comparison, the overall one first."""
        return [*([self.overall] if self.overall else []), *self.tasks.values()]


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

    def pairs(self) -> list[tuple[ArmResult, ArmResult]]:
        """Return each arm that has a run beside the first variant's arm of the same seed."""
        first = {each.arm.seed: each for each in self.of(self.experiment.variants[0])}
        return [
            (first[each.arm.seed], each)
            for each in self.arms
            if each.arm.variant != self.experiment.variants[0] and each.run and first[each.arm.seed].run
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
    keys, refused = _comparable([*(one for _, one, _ in pairs), *(other for _, _, other in pairs)])
    tested = {key: _pairs(key, pairs) for key in keys}
    main = [key for key in keys if keys[key] and tested[key].higher_is_better and _is_share(tested[key])]
    names = {f"{task}/{metric}": (task, metric) for task, metric in keys}
    overall, by_name = compare(
        {name: tested[key] for name, key in names.items()}, overall=[f"{task}/{metric}" for task, metric in main]
    )
    seeds = tuple(seed for seed, _, _ in pairs)
    return Comparison(
        before, after, seeds, overall, {names[name]: each for name, each in by_name.items()}, tuple(refused)
    )


def _comparable(every: Sequence[Mapping[str, Scored]]) -> tuple[dict[Key, bool], list[Text]]:
    """Return the (task, metric) that all results have, whether it is the main one, and what has to be left out."""
    keys: dict[Key, bool] = {}
    refused: list[Text] = []
    for task, scored in every[0].items():
        others = [each.get(task) for each in every]
        reason: Text = ""
        for other in others:
            reason = reason or (mismatch(scored, other) if other else Label("점수 없음", "no scores"))
        if reason:
            refused.append(join([named(TASKS, task), reason], ": "))
            continue
        for position, (metric, stored) in enumerate(scored.result.metrics.items()):
            wanted = position == 0 or metric == CITATION
            # What a figure is made of must be its rows' mean: only that can be tested row by row.
            whole = all(other and _is_mean(other, metric) for other in others)
            if wanted and whole and stored.higher_is_better is not None:
                keys[task, metric] = position == 0
    return keys, refused


def _is_mean(scored: Scored, metric: str) -> bool:
    values = scored.scores.get(metric, {})
    stored = scored.result.metrics.get(metric)
    if stored is None or not values or len(values) != len(scored.labels):
        return False
    return abs(sum(values.values()) / len(values) - stored.value) <= 1e-6 * max(1.0, abs(stored.value))


def _is_share(pairs: Pairs) -> bool:
    return all(0 <= value <= 1 for side in (pairs.before, pairs.after) for row in side for value in row)


def _pairs(key: Key, pairs: Sequence[tuple[int | None, Mapping[str, Scored], Mapping[str, Scored]]]) -> Pairs:
    task, metric = key
    ids = sorted(pairs[0][1][task].scores[metric])
    before = [[one[task].scores[metric][name] for name in ids] for _, one, _ in pairs]
    after = [[other[task].scores[metric][name] for name in ids] for _, _, other in pairs]
    return Pairs(before, after, bool(pairs[0][1][task].result.metrics[metric].higher_is_better))


def _correct(found: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with Holm's p over all of their tests."""
    fixed = iter(corrected([effect for each in found for effect in each.effects]))
    return [
        replace(
            each,
            overall=next(fixed) if each.overall else None,
            tasks={key: next(fixed) for key in each.tasks},
        )
        for each in found
    ]
