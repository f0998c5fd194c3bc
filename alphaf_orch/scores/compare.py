"""Scores with their intervals, and paired comparisons of two models on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.scores import resampling as resampling
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.significance import holm, mcnemar, wilson

if TYPE_CHECKING:
    from alphaf_orch.scores.resampling import Statistic

# How fast and where a model was asked; no answer depends on it.
_NO_INFLUENCE = {"batch_size", "batch_sizes", "device", "gpus", "server", "server_model", "command"}
# What comes with a model and is a part of it: its type, its end markers, the penalties of its generation config.
OF_THE_MODEL = {"model_dtype", "stop_token_ids", "generation_config", "max_length"}
SIGNIFICANT = 0.05
Method = Literal["wilson", "bootstrap", "stderr", ""]
Test = Literal["mcnemar", "exchange", ""]
Verdict = Literal["better", "worse", "none", "untested", "refused"]


@dataclass(frozen=True)
class Score:
    """A figure with its 95% interval and how that was found; no method, no interval."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    method: Method = ""


@dataclass(frozen=True)
class Change:
    """What a later model does differently on the rows of one task; `refused` says why it was not compared."""

    task: str
    metric: str
    before: str
    after: str
    higher_is_better: bool | None
    refused: Text = ""
    n: int = 0
    difference: float = 0.0
    low: float | None = None
    high: float | None = None
    test: Test = ""
    gained: int = 0  # rows of a 0/1 metric that went from 0 to 1, and from 1 to 0
    lost: int = 0
    p: float | None = None
    p_holm: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the later model is better, worse, or not shown to differ, after correction."""
        if self.refused:
            return "refused"
        if self.p_holm is None:
            return "untested"
        if self.p_holm >= SIGNIFICANT or self.difference == 0:
            return "none"
        return "better" if (self.difference > 0) == self.higher_is_better else "worse"


def score(scored: Scored, metric: str) -> Score:
    """Return the stored figure with its interval: Wilson for 0/1, bootstrap for others, else from the stored stderr."""
    stored = scored.result.metrics[metric]
    found = _rows(scored, metric)
    if found is None:
        if stored.stderr is None:
            return Score(stored.value, stored.n)
        half = 1.959963984540054 * stored.stderr
        return Score(stored.value, stored.n, stored.value - half, stored.value + half, "stderr")
    statistic, rows = found
    if is_binary(scored, metric):
        low, high = wilson(round(sum(rows.values())), len(rows))
        return Score(stored.value, len(rows), low, high, "wilson")
    low, high = resampling.interval(statistic, list(rows.values()))
    return Score(stored.value, len(rows), low, high, "bootstrap")


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


def mismatch(before: Scored, after: Scored) -> Text:
    """Return why the two results cannot be compared; empty where they can."""
    first, second = before.result, after.result
    keys = sorted((first.settings.keys() | second.settings.keys()) - _NO_INFLUENCE - OF_THE_MODEL)
    differing = [key for key in keys if _as_asked(first.settings, key) != _as_asked(second.settings, key)]
    if differing:
        shown = ", ".join(f"{key} {first.settings.get(key)} ≠ {second.settings.get(key)}" for key in differing)
        return Label(f"설정이 다름: {shown}", f"other settings: {shown}")
    if first.n != second.n:
        return Label(f"문항 수가 다름: {first.n} ≠ {second.n}", f"other numbers of rows: {first.n} ≠ {second.n}")
    if before.repeated_ids or after.repeated_ids:
        return Label("같은 id의 문항이 여럿", "several rows have the same id")
    if before.labels.keys() != after.labels.keys():
        return Label("문항의 id가 다름", "the rows have other ids")
    if any(before.labels[name][0] != after.labels[name][0] for name in before.labels):
        return Label("정답이 다름", "other gold answers")
    return ""


def _as_asked(settings: Mapping[str, Any], key: str) -> Any:
    """Return a setting less the model's own end markers, which lm-eval is given among the generation settings."""
    value = settings.get(key)
    if key == "generation" and isinstance(value, Mapping):
        return {name: each for name, each in value.items() if name != "eos_token_id"}
    return value


def compare(before: Scored, after: Scored, names: tuple[str, str]) -> list[Change]:
    """Return the paired comparison of every metric that both results have."""
    reason = mismatch(before, after)
    found = []
    for metric, stored in after.result.metrics.items():
        if metric not in before.result.metrics:
            continue
        change = Change(after.result.task, metric, *names, stored.higher_is_better, reason)
        found.append(change if reason else _compared(change, before, after))
    return found


def correct(changes: Sequence[Change]) -> list[Change]:
    """Return the changes with Holm's p: all tests among them are one family."""
    tested = [change for change in changes if change.p is not None]
    corrected = iter(holm([change.p for change in tested if change.p is not None]))
    return [change if change.p is None else replace(change, p_holm=next(corrected)) for change in changes]


def _compared(change: Change, before: Scored, after: Scored) -> Change:
    metric = change.metric
    value = after.result.metrics[metric].value - before.result.metrics[metric].value
    first, second = _rows(before, metric), _rows(after, metric)
    if first is None or second is None:
        return replace(change, n=after.result.n, difference=value)
    statistic, rows = first
    pairs = [(rows[name], second[1][name]) for name in sorted(rows)]
    low, high = resampling.difference_interval(statistic, pairs)
    change = replace(change, n=len(pairs), difference=value, low=low, high=high)
    if is_binary(before, metric) and is_binary(after, metric):
        gained = sum(b > a for a, b in pairs)
        lost = sum(b < a for a, b in pairs)
        change = replace(change, gained=gained, lost=lost)
        p = mcnemar(gained, lost) if change.higher_is_better is not None else None
        return replace(change, test="mcnemar" if p is not None else "", p=p)
    if change.higher_is_better is None:
        return change
    return replace(change, test="exchange", p=resampling.exchange_test(statistic, pairs))


def _rows(scored: Scored, metric: str) -> tuple[Statistic, Mapping[str, Any]] | None:
    """Return how the figure comes from its rows; None where the rows do not give the stored figure."""
    stored = scored.result.metrics[metric].value
    values: Mapping[str, Any]
    for statistic, values in (
        (resampling.mean, scored.scores.get(metric, {})),
        (resampling.macro_f1, scored.labels if "f1" in metric else {}),
    ):
        whole = len(values) == len(scored.labels) > 0
        if whole and abs(resampling.point(statistic, list(values.values())) - stored) <= 1e-6 * max(1.0, abs(stored)):
            return statistic, values
    return None
