"""What a figure is made of: a value a row and how the figure comes from them, or what kind of figure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alphaf_orch.scores import resampling
from alphaf_orch.scores.clusters import labels_of
from alphaf_orch.scores.loaded import Scored

if TYPE_CHECKING:
    from alphaf_orch.scores.resampling import Statistic


@dataclass(frozen=True)
class Rows:
    """The rows of one result that give one of its figures."""

    statistic: Statistic
    values: Mapping[str, Any]  # by the row's id
    clusters: Mapping[str, str] = field(default_factory=dict)  # the same, of the rows that share one

    def labels(self, names: Sequence[str]) -> list[str] | None:
        """Return the clusters of the named rows; None where each row is one of its own."""
        return labels_of(names, self.clusters)

    @property
    def mean(self) -> bool:
        """Whether the figure is the mean of its rows: only that can be tested row by row over several seeds."""
        return self.statistic is resampling.mean


def rows_of(scored: Scored, metric: str) -> Rows | None:
    """Return how the figure comes from its rows; None where it has none, or other rows than its figure."""
    if metric not in scored.result.metrics:
        return None
    stored = scored.result.metrics[metric].value
    values: Mapping[str, Any]
    for statistic, values in (
        (resampling.mean, scored.scores.get(metric, {})),
        (resampling.macro_f1, scored.labels if "f1" in metric else {}),
    ):
        whole = len(values) == len(scored.labels) > 0
        if whole and abs(resampling.point(statistic, list(values.values())) - stored) <= 1e-6 * max(1.0, abs(stored)):
            return Rows(statistic, values, scored.clusters)
    return None


def is_binary(scored: Scored, metric: str) -> bool:
    """Return whether every row is right or wrong and nothing between."""
    values = scored.scores.get(metric)
    return bool(values) and set(values.values()) <= {0.0, 1.0}  # type: ignore[union-attr]


def is_share(results: Sequence[Scored], metric: str) -> bool:
    """Return whether the metric is a share of something, to be shown as a percentage."""
    with_it = [scored for scored in results if metric in scored.result.metrics]
    values = [value for scored in with_it for value in scored.scores.get(metric, {}).values()]
    values += [scored.result.metrics[metric].value for scored in with_it]
    directed = any(scored.result.metrics[metric].higher_is_better is not None for scored in with_it)
    return directed and all(0 <= value <= 1 for value in values)
