"""The scores of one model on one task, and the answers behind them: what is stored and read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import write_atomic
from alphaf_orch.inputs.identity import is_old

FORMAT = 1
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
        values = json.loads(path.read_text(encoding="utf-8"))
        metrics = {name: Metric(**metric) for name, metric in values.pop("metrics").items()}
        prompt, warnings = dict(values.pop("prompt")), tuple(values.pop("warnings"))
        return TaskResult(**values, metrics=metrics, title=prompt.pop("title", {}), prompt=prompt, warnings=warnings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunStateError(
            f"the scores cannot be read: {error}", where=str(path), fix="remove the file and run alphaf eval again"
        ) from None


def run_results(paths: RunPaths) -> dict[str, dict[str, TaskResult]]:
    """Return every result of a run as {stage: {task: result}}, in the order of the names."""
    found: dict[str, dict[str, TaskResult]] = {}
    for path in paths.eval_results():
        found.setdefault(path.parent.name, {})[path.stem] = read_result(path)
    return found


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of a file in their order."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            values = json.loads(line)
            yield Sample(**values, cluster=values.get("details", {}).pop(_CLUSTER, None))


def _stored(sample: Sample) -> dict[str, Any]:
    values = asdict(sample)
    # Earlier versions refuse a key of the sample that they do not know, but not one of its details.
    cluster = values.pop("cluster")
    return values if cluster is None else values | {"details": {**values["details"], _CLUSTER: cluster}}
