"""Scores with their intervals, and paired comparisons of two models on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.scores import resampling
from alphaf_orch.scores.bounds import SHARE, SHARE_DIFFERENCE, held, score_interval, within
from alphaf_orch.scores.clusters import grouped, labels_of, mean_error
from alphaf_orch.scores.difference import Difference, Errors, Refused, agreeing
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.results import Metric
from alphaf_orch.scores.rows import is_binary, is_share, rows_of
from alphaf_orch.scores.significance import Z95, mcnemar, student, wilson

# How fast and where a model was asked; no answer depends on it.
_NO_INFLUENCE = {"batch_size", "batch_sizes", "device", "gpus", "server", "server_model", "command"}
# What comes with a model and is a part of it: its type, its end markers, the penalties of its generation config.
OF_THE_MODEL = {"model_dtype", "stop_token_ids", "generation_config", "max_length"}
Method = Literal["wilson", "bootstrap", "stderr", ""]


@dataclass(frozen=True)
class Score:
    """A figure with its 95% interval and how that was found; no method, no interval."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    method: Method = ""
    clusters: int = 0  # how many of the n are independent; 0: all


def score(scored: Scored, metric: str) -> Score:
    """Return the stored figure with its interval: Wilson for 0/1, bootstrap for others, else from the stored stderr.

    No interval has width zero, and none of a share leaves 0 to 1; where neither could be had there is none.
    """
    stored = scored.result.metrics[metric]
    found = rows_of(scored, metric)
    share = is_share([scored], metric)
    if found is None:
        return stored_score(stored, share=share, units=scored.result.units)
    names = sorted(found.values)
    rows, labels = [found.values[name] for name in names], found.labels(names)
    group = grouped(len(rows), labels)
    told = Score(stored.value, len(rows), clusters=0 if labels is None else group.many)
    if is_binary(scored, metric):
        return replace(told, **_ends(_share_interval(rows, labels)), method="wilson")
    ends = resampling.interval(found.statistic, rows, labels)
    if share:
        ends = held(ends, stored.value, group.effective, SHARE)
    return replace(told, **_ends(ends), method="bootstrap") if ends[0] < ends[1] else told


def stored_score(stored: Metric, *, share: bool, units: float | None = None) -> Score:
    """Return a figure with the interval that its stored error gives; `units` is its n less what clusters share."""
    if stored.stderr is None or stored.n < 1:
        return Score(stored.value, stored.n)
    half = Z95 * stored.stderr
    low, high = stored.value - half, stored.value + half
    if share:
        # A standard error of zero is what rows without any variety give, however few they are.
        low, high = within(low, high, SHARE) if half else held((low, high), stored.value, units or stored.n, SHARE)
    return Score(stored.value, stored.n, low, high, "stderr") if low < high else Score(stored.value, stored.n)


def _ends(interval: tuple[float, float]) -> dict[str, Any]:
    return {"low": interval[0], "high": interval[1]}


def _share_interval(rows: Sequence[float], labels: Sequence[str] | None) -> tuple[float, float]:
    """Return Wilson's interval of a share, over as many independent units as the clusters leave."""
    hits, n = round(sum(rows)), len(rows)
    if labels is None:
        return wilson(hits, n)
    group, share = grouped(n, labels), hits / n
    error = mean_error(rows, labels) or 0.0
    # By chance rows of a cluster can be more unlike than others: that makes no interval narrower.
    variance = max(error**2, share * (1 - share) / n)
    return score_interval(share, variance, group.effective, student(group.effective - 1))


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


def compare(before: Scored, after: Scored) -> dict[str, Difference | Refused]:
    """Return the paired comparison of every metric that both results have; p is not corrected yet."""
    reason = mismatch(before, after)
    shared = [metric for metric in after.result.metrics if metric in before.result.metrics]
    return {metric: Refused(reason) if reason else _compared(before, after, metric) for metric in shared}


def _compared(before: Scored, after: Scored, metric: str) -> Difference:
    stored = after.result.metrics[metric]
    directed = stored.higher_is_better is not None
    scores = (before.result.metrics[metric].value,), (stored.value,)
    first, second = rows_of(before, metric), rows_of(after, metric)
    if first is None or second is None:
        return Difference(*scores, after.result.n, stored.higher_is_better)
    names = sorted(first.values)
    pairs = [(first.values[name], second.values[name]) for name in names]
    # A result that was stored before its task had clusters is of the same rows.
    labels = labels_of(names, {**first.clusters, **second.clusters})
    group = grouped(len(pairs), labels)
    found = Difference(*scores, len(pairs), stored.higher_is_better, clusters=0 if labels is None else group.many)
    ends = resampling.difference_interval(first.statistic, pairs, labels)
    if is_share([before, after], metric):
        ends = held(ends, found.estimate, group.effective, SHARE_DIFFERENCE)
    if ends[0] < ends[1]:
        found = replace(found, low=ends[0], high=ends[1])
    if first.mean:
        moved = [b - a for a, b in pairs]
        found = replace(found, errors=Errors(mean_error(moved, None), mean_error(moved, labels)))
    if is_binary(before, metric) and is_binary(after, metric):
        gained, lost = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
        found = replace(found, gained=gained, lost=lost)
        if directed and labels is None:
            return agreeing(replace(found, kind="mcnemar", p=mcnemar(gained, lost)))
    if not directed:
        return found
    return agreeing(replace(found, kind="exchange", p=resampling.exchange_test(first.statistic, pairs, labels)))
