"""The clusters of scores that are known: laid over the stored rows where a task was given them since, nothing asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.evaluation.cells import Cell
from alphaf_orch.evaluation.tasks.clusters import cluster_of, local_clusters
from alphaf_orch.scores.clusters import grouped, labels_of, mean_error
from alphaf_orch.scores.results import Metric, Sample, TaskResult, read_result, read_samples, write_result


def with_errors(result: TaskResult, samples: Sequence[Sample]) -> TaskResult:
    """Return the result with standard errors that keep clusters together; lm-eval takes each row as one of its own."""
    return result if _labels(samples) is None else _with_own_errors(result, samples)


def _labels(samples: Sequence[Sample]) -> list[str] | None:
    shared = {sample.id: sample.cluster for sample in samples if sample.cluster is not None}
    return labels_of([sample.id for sample in samples], shared)


def _with_own_errors(result: TaskResult, samples: Sequence[Sample]) -> TaskResult:
    labels = _labels(samples)
    metrics = {name: _with_error(name, metric, samples, labels) for name, metric in result.metrics.items()}
    prompt = {key: value for key, value in result.prompt.items() if key != "clusters"}
    if labels is not None:
        prompt["clusters"] = round(grouped(len(labels), labels).effective, 3)
    return replace(result, metrics=metrics, prompt=prompt)


def _with_error(name: str, metric: Metric, samples: Sequence[Sample], labels: Sequence[str] | None) -> Metric:
    values = [sample.scores[name] for sample in samples if name in sample.scores]
    whole = len(values) == len(samples)
    if not whole or abs(sum(values) / len(values) - metric.value) > 1e-6 * max(1.0, abs(metric.value)):
        return metric  # no mean of its rows
    return replace(metric, stderr=mean_error(values, labels))


def refreshed(paths: RunPaths, cell: Cell, result: TaskResult) -> TaskResult:
    """Return the known result of a cell, its stored rows in the clusters that the task has now.

    Rows whose cluster cannot be told any more (a hub data set's long columns are not stored) stay as they are.
    """
    stored_rows = list(read_samples(paths.eval_samples(result.stage, result.task)))
    known = local_clusters(cell.task.config, cell.task.cluster)
    samples = [_clustered(sample, cell, known) for sample in stored_rows]
    if samples == stored_rows:
        return result
    stored = _with_own_errors(read_result(paths.eval_result(result.stage, result.task)), samples)
    write_result(paths, stored, samples)
    return stored


def _clustered(sample: Sample, cell: Cell, known: Mapping[str, str]) -> Sample:
    if not cell.task.cluster:
        return replace(sample, cluster=None)
    found = known.get(sample.id) or cluster_of(sample.details, cell.task.cluster)
    return sample if found is None else replace(sample, cluster=found)
