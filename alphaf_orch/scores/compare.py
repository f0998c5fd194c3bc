"""Scores with their intervals, and paired comparisons of two models on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.scores import resampling
from alphaf_orch.scores.difference import Difference, Refused
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.rows import is_binary, rows_of
from alphaf_orch.scores.significance import Z95, mcnemar, wilson

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


def score(scored: Scored, metric: str) -> Score:
    """Return the stored figure with its interval: Wilson for 0/1, bootstrap for others, else from the stored stderr."""
    stored = scored.result.metrics[metric]
    found = rows_of(scored, metric)
    if found is None:
        if stored.stderr is None:
            return Score(stored.value, stored.n)
        half = Z95 * stored.stderr
        return Score(stored.value, stored.n, stored.value - half, stored.value + half, "stderr")
    rows = list(found.values.values())
    if is_binary(scored, metric):
        return Score(stored.value, len(rows), *wilson(round(sum(rows)), len(rows)), "wilson")
    return Score(stored.value, len(rows), *resampling.interval(found.statistic, rows), "bootstrap")


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
    pairs = [(first.values[name], second.values[name]) for name in sorted(first.values)]
    low, high = resampling.difference_interval(first.statistic, pairs)
    found = Difference(*scores, len(pairs), stored.higher_is_better, low, high)
    if is_binary(before, metric) and is_binary(after, metric):
        gained, lost = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
        found = replace(found, gained=gained, lost=lost)
        return replace(found, kind="mcnemar", p=mcnemar(gained, lost)) if directed else found
    return replace(found, kind="exchange", p=resampling.exchange_test(first.statistic, pairs)) if directed else found
