"""Every score and comparison of a report, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alphaf_orch.core.wording import Text, join
from alphaf_orch.scores.compare import Score, compare, score
from alphaf_orch.scores.difference import Difference, Refused, corrected
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.results import TaskResult
from alphaf_orch.scores.rows import is_share

Key = tuple[str, str, str]  # arm, task, metric


@dataclass(frozen=True)
class Arm:
    """One model: its column's title, its results by task, and which arm it is compared with.

    Arms of one group stand in one table; all comparisons, of all groups, are one family of tests.
    """

    name: str
    title: Text
    tasks: Mapping[str, Scored]
    against: str | None = None
    group: Text = ""
    apart: bool = False  # the two were trained otherwise, each once: their seeds alone could make them differ


@dataclass(frozen=True)
class ScoreTable:
    """Every score and every comparison, computed once."""

    arms: tuple[Arm, ...]
    scores: Mapping[Key, Score]
    changes: Mapping[Key, Difference | Refused]  # what the arm does differently from the one it is compared with
    shares: frozenset[tuple[str, str]]  # (task, metric) shown as percentages

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order in which they were met."""
        return tuple(dict.fromkeys(task for arm in self.arms for task in arm.tasks))

    @property
    def groups(self) -> tuple[tuple[Text, tuple[Arm, ...]], ...]:
        """The arms of each group, in their order."""
        found = {arm.group: [each for each in self.arms if each.group == arm.group] for arm in self.arms}
        return tuple((group, tuple(arms)) for group, arms in found.items())

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)

    def title(self, name: str) -> Text:
        """The title of an arm with its group."""
        return join([self.arm(name).title, self.arm(name).group])

    def pair(self, name: str) -> Text:
        """The titles of the arm that one is compared with, and of that one."""
        return join([self.title(self.arm(name).against or name), self.title(name)], " → ")

    def results(self, task: str) -> list[TaskResult]:
        """What each arm scored on a task."""
        return [arm.tasks[task].result for arm in self.arms if task in arm.tasks]

    def stored_title(self, task: str) -> Mapping[str, str]:
        """What a task is called, as the first result says that has it."""
        return next((result.title for result in self.results(task) if result.title), {})

    def metrics(self, task: str) -> tuple[str, ...]:
        """The metrics of a task, its main one first."""
        return tuple(dict.fromkeys(metric for result in self.results(task) for metric in result.metrics))

    def higher_is_better(self, task: str, metric: str) -> bool | None:
        """The better direction of a metric."""
        stored = (result.metrics.get(metric) for result in self.results(task))
        return next(each.higher_is_better for each in stored if each)


def build(arms: Sequence[Arm]) -> ScoreTable:
    """Return the scores of the arms and the corrected comparisons between them."""
    by_name = {arm.name: arm for arm in arms}
    scores: dict[Key, Score] = {}
    changes: dict[Key, Difference | Refused] = {}
    for arm in arms:
        for task, scored in arm.tasks.items():
            scores.update({(arm.name, task, metric): score(scored, metric) for metric in scored.result.metrics})
            before = by_name[arm.against].tasks.get(task) if arm.against else None
            if before and not _same_model(before, scored):
                changes |= {(arm.name, task, metric): each for metric, each in compare(before, scored).items()}
    changes |= corrected(
        {
            key: replace(each, one_seed=by_name[key[0]].apart)
            for key, each in changes.items()
            if isinstance(each, Difference)
        }
    )
    shares = {
        (task, metric)
        for _, task, metric in scores
        if is_share([arm.tasks[task] for arm in arms if task in arm.tasks], metric)
    }
    return ScoreTable(tuple(arms), scores, changes, frozenset(shares))


def _same_model(first: Scored, second: Scored) -> bool:
    """Return whether both results are of one model: two runs from the same base have nothing to compare there."""
    identity = first.result.model.get("identity")
    return identity is not None and identity == second.result.model.get("identity")
