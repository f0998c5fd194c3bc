"""The article's three criteria as numbers from 0 to 1, each made of parts that say how they came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.wording import Label, Text, join
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.evaluation.tasks.titles import task_title
from alphaf_orch.experiments.bakeoff.plan import Bakeoff
from alphaf_orch.inputs.licences import STRICTEST, read_licence
from alphaf_orch.scores.loaded import Scored

CRITERIA = ("versatility", "korean", "performance")
LIBRARIES = ("transformers", "axolotl", "unsloth", "mergekit", "lm-eval")
# What an answer counts: a class of ours or a general path works, but not by the library's own care.
COUNTS = {"yes": 1.0, "own": 0.5, "partly": 0.5, "no": 0.0}
WRONG_LANGUAGE = "wrong_language"


@dataclass(frozen=True)
class Part:
    """One figure that a criterion is the mean of; without a value, `why` says what it lacks."""

    name: str
    value: float | None
    why: Text = ""


@dataclass(frozen=True)
class Criterion:
    """A criterion of one candidate: its parts and, where it has all that others have, its value."""

    name: str
    value: float | None
    parts: tuple[Part, ...]

    @property
    def lacking(self) -> tuple[Part, ...]:
        """The parts that have no value."""
        return tuple(part for part in self.parts if part.value is None)


Scores = Mapping[str, Mapping[str, Scored]]  # stage -> task


def versatility_parts(answers: Sequence[Mapping[str, Any]], licence: str) -> tuple[Part, ...]:
    """Return a part for each library, the mean of what its answers count, and one for the licence.

    A licence counts 1 - strictness / STRICTEST: 1 if permissive, 0 if unknown.
    """
    parts = []
    for library in LIBRARIES:
        counted = [COUNTS[a["answer"]] for a in answers if a["library"] == library and a["answer"] in COUNTS]
        why = "" if counted else "; ".join(a["evidence"] for a in answers if a["library"] == library)
        parts.append(Part(library, sum(counted) / len(counted) if counted else None, why))
    return (*parts, Part("licence", 1 - read_licence(licence).strictness / STRICTEST, licence))


def korean_parts(
    bakeoff: Bakeoff, scores: Scores, tokens: Mapping[str, Any] | None, lacks: Text, no_tokens: Text
) -> tuple[Part, ...]:
    """Return the base's score on general Korean, 1 / (1 + tokens per syllable), and 1 - the wrong-language rate of SFT.

    `lacks` and `no_tokens` say why scores and the tokenizer's figures may not be there.
    """
    measured = tokens is not None and "error" not in tokens
    why: Text = "" if measured else tokens["error"] if tokens else no_tokens
    economy = 1 / (1 + tokens["tokens_per_syllable"]) if tokens is not None and measured else None
    wrong = wrong_language(bakeoff, scores)
    no_such = Label("이 지표가 있는 과제가 없음", "no task has this metric")
    return (
        Part("korean_score", *mean_score(scores.get("base", {}), bakeoff.elsewhere, lacks)),
        Part("tokenizer", economy, why),
        Part("own_language", None if wrong is None else 1 - wrong, (lacks or no_such) if wrong is None else ""),
    )


def performance_parts(bakeoff: Bakeoff, scores: Scores, lacks: Text) -> tuple[Part, ...]:
    """Return the score after SFT, and by how much SFT lowered the score elsewhere (negative: it rose)."""
    before, no_before = mean_score(scores.get("base", {}), bakeoff.elsewhere, lacks)
    after, no_after = mean_score(scores.get("sft", {}), bakeoff.elsewhere, lacks)
    cost = None if before is None or after is None else before - after
    return (
        Part("after_sft", *mean_score(scores.get("sft", {}), bakeoff.tasks, lacks)),
        Part("cost_elsewhere", cost, no_after or no_before),
    )


def mean_score(results: Mapping[str, Scored], tasks: Sequence[Task], lacks: Text) -> tuple[float | None, Text]:
    """Return the mean of the tasks' main scores, or None and why: a task without a result leaves no fair mean."""
    values = []
    for task in tasks:
        title = task_title(task.name, task.title)
        if task.name not in results:
            return None, lacks or join([title, Label("결과 없음", "no result")], ": ")
        name, metric = next(iter(results[task.name].result.metrics.items()))
        if not metric.higher_is_better or not 0 <= metric.value <= 1:
            return None, join([title, " ", name, ": ", Label("0~1 점수가 아님", "no score from 0 to 1")], "")
        values.append(metric.value)
    return (sum(values) / len(values), "") if values else (None, lacks)


def wrong_language(bakeoff: Bakeoff, scores: Scores) -> float | None:
    """Return the share of SFT answers that leave Korean without a reason, over all rows that were asked for it."""
    rows = hits = 0.0
    results = scores.get("sft", {})
    for task in (*bakeoff.tasks, *bakeoff.elsewhere):
        if WRONG_LANGUAGE not in task.metrics:
            continue
        if task.name not in results:
            return None
        metric = results[task.name].result.metrics[WRONG_LANGUAGE]
        rows, hits = rows + metric.n, hits + metric.n * metric.value
    return hits / rows if rows else None


def complete(parts: Mapping[str, tuple[Part, ...]], name: str) -> dict[str, Criterion]:
    """Return the criterion of each candidate, from the parts that any candidate has.

    versatility, korean = the mean of the parts; performance = the score after SFT - its cost elsewhere, at least 0.
    A part that none has (a library that is not installed) is left out for all. A candidate without a part that
    another has gets no value: a mean over fewer parts would be another criterion.
    """
    known = {part.name for each in parts.values() for part in each if part.value is not None}
    found = {}
    for candidate, each in parts.items():
        values = {part.name: part.value for part in each if part.name in known}
        whole = {key: value for key, value in values.items() if value is not None}
        value = _COMBINE[name](whole) if whole and len(whole) == len(values) else None
        found[candidate] = Criterion(name, value, each)
    return found


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


def _less_cost(values: Mapping[str, float]) -> float | None:
    # A gain elsewhere is no merit of an SFT that was not for it.
    after = values.get("after_sft")
    return None if after is None else max(0.0, after - max(0.0, values.get("cost_elsewhere", 0.0)))


_COMBINE: Mapping[str, Callable[[Mapping[str, float]], float | None]] = {
    "versatility": _mean,
    "korean": _mean,
    "performance": _less_cost,
}
