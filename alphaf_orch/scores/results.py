"""The scores of one model on one task, and the answers behind them: what is stored and read back."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import write_atomic
from alphaf_orch.core.stored import (
    Unreadable,
    checked,
    first_mistake,
    mending,
    numbered_lines,
    read_object,
    unreadable,
)
from alphaf_orch.inputs.identity import is_old

FORMAT = 1
Kind = TypeVar("Kind")
_CLUSTER = "_cluster"  # in a stored sample's details; a row's own column may be called `cluster`


@dataclass(frozen=True)
class Metric:
    """One score of a task: its mean over `n` samples and the standard error of that mean, where it has one."""

    value: float
    stderr: float | None
    n: int
    higher_is_better: bool | None  # None where neither is: a mean length


@dataclass(frozen=True)
class TaskResult:
    """What one model scored on one task, with everything that the figures depend on."""

    task: str
    suite: str
    stage: str
    key: str  # the cache key: model fingerprint, task and settings
    model: Mapping[str, Any]  # path, revision, identity
    settings: Mapping[str, Any]  # backend, limit, num_fewshot, seed, dtype, generation settings, batch size, ...
    prompt: Mapping[str, Any]  # chat_template_sha256, tokenizer, eos and pad, system prompt, asserted
    metrics: Mapping[str, Metric]  # by name; the first is the task's main one
    n: int
    seconds: float
    started: str
    versions: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    format: int = FORMAT
    title: Mapping[str, str] = field(default_factory=dict)  # ko, en; empty where an earlier version asked

    @property
    def units(self) -> float | None:
        """How many independent rows its clusters leave (Kish's number); None where each row is one of its own."""
        found = self.prompt.get("clusters")  # with the prompt, as the title: earlier versions take no other key
        return float(found) if found else None

    @property
    def believed(self) -> bool:
        """Whether the scores are known to be this model's: an earlier version shared them among unlike models."""
        return not is_old(self.model.get("identity"))


@dataclass(frozen=True)
class Sample:
    """One prompt with the model's answer; `scores` has the per-sample value of each metric, 0 or 1 for shares."""

    id: str  # the row's own id, equal for equal rows: samples of two models are paired by it
    prompt: str  # what the model saw, chat template included
    answer: str  # the generation, or the text of the option chosen
    gold: str
    scores: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)
    cluster: str | None = None  # equal for rows that share a document or template; None where the row is its own


@functools.cache  # built when one is read
def _kind(kind: type[Kind]) -> TypeAdapter[Kind]:
    return TypeAdapter(kind)


def write_result(paths: RunPaths, result: TaskResult, samples: Iterable[Sample]) -> None:
    """Write the samples, then the scores: a result file that exists has its samples beside it."""
    lines = (json.dumps(_stored(sample), ensure_ascii=False) for sample in samples)
    write_atomic(paths.eval_samples(result.stage, result.task), "".join(f"{line}\n" for line in lines))
    values = asdict(result)
    # Earlier versions refuse a key of the result that they do not know, but not one of its prompt.
    values["prompt"] |= {"title": values.pop("title")}
    write_atomic(paths.eval_result(result.stage, result.task), json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_result(path: Path) -> TaskResult:
    """Return the result a file holds; raise RunStateError where it cannot be read."""
    try:
        values = read_object(path)
    except FileNotFoundError:
        raise unreadable(path, "it is gone", _again(path)) from None
    except Unreadable as error:
        raise Unreadable(error.what, where=error.where, fix=_again(path), code=error.code) from None
    values = {**values, "prompt": values.get("prompt")}
    prompt = values["prompt"] = dict(values["prompt"]) if isinstance(values["prompt"], dict) else values["prompt"]
    title = prompt.pop("title", {}) if isinstance(prompt, dict) else {}
    found: TaskResult = checked(_kind(TaskResult), values | {"title": title}, path, _again(path))
    return found


def check_samples(path: Path, result: TaskResult) -> None:
    """Raise RunStateError where the samples behind a result are not all there."""
    for _ in whole_samples(path, result):
        pass


def whole_samples(path: Path, result: TaskResult) -> Iterator[Sample]:
    """Yield the samples behind a result; raise RunStateError where some lack, or are too many, once they are read."""
    found = 0
    for sample in read_samples(path):
        found += 1
        yield sample
    if found != result.n:
        raise unreadable(path, f"it holds {found:,} of {result.n:,} samples", _again(path))


def _again(path: Path) -> str:
    return f"{mending(path)}; `alphaf eval` asks again for what is set aside"


def run_results(paths: RunPaths) -> dict[str, dict[str, TaskResult]]:
    """Return every result of a run as {stage: {task: result}}, in the order of the names."""
    found: dict[str, dict[str, TaskResult]] = {}
    for path in paths.eval_results():
        found.setdefault(path.parent.name, {})[path.stem] = read_result(path)
    return found


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of a file in their order; raise RunStateError naming the first line that is none."""
    try:
        for number, line in numbered_lines(path, _again(path)):
            try:
                values = json.loads(line)
                details = values["details"] if isinstance(values.get("details"), dict) else {}
                yield _kind(Sample).validate_python(values | {"cluster": details.pop(_CLUSTER, None)})
            except (ValidationError, ValueError, RecursionError, AttributeError, TypeError) as error:
                why = first_mistake(error) if isinstance(error, ValidationError) else "it is cut off or no JSON object"
                raise unreadable(path, f"line {number:,}: {why}", _again(path)) from None
    except FileNotFoundError:
        raise unreadable(path, "it is gone", _again(path)) from None


def _stored(sample: Sample) -> dict[str, Any]:
    values = asdict(sample)
    # Earlier versions refuse a key of the sample that they do not know, but not one of its details.
    cluster = values.pop("cluster")
    return values if cluster is None else values | {"details": {**values["details"], _CLUSTER: cluster}}
