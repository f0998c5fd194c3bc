"""Everything that is stored about a run, read once for its report; what is not there yet is empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.record import read_manifest, require_whole, required_json
from alphaf_orch.core.shapes import Report
from alphaf_orch.core.stored import absent, open_stored, read_text, unreadable
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.planning.stages import SECTIONS
from alphaf_orch.runs.chain import CHAIN
from alphaf_orch.scores.results import Sample, TaskResult, read_samples, run_results, whole_samples
from alphaf_orch.settings.config import read_remembered


@dataclass(frozen=True)
class Scored:
    """The result of one model on one task, with what of its samples the statistics need."""

    result: TaskResult
    scores: Mapping[str, Mapping[str, float]]  # metric -> id -> value
    labels: Mapping[str, tuple[str, str]]  # id -> (gold, answer)
    prompts: Mapping[str, int]  # id -> hash of the prompt: equal rows must have been asked alike
    repeated_ids: int
    clusters: Mapping[str, str] = field(default_factory=dict)  # id -> cluster, of the rows that share one


@dataclass(frozen=True)
class RunData:
    """One run as its files tell it."""

    paths: RunPaths
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, list[dict[str, Any]]]
    reports: Mapping[str, Mapping[str, Any]]
    rendered: Mapping[str, str]
    scored: Mapping[str, Mapping[str, Scored]]  # stage -> task, in the order of the chain
    disbelieved: Mapping[str, Sequence[str]]  # stage -> the tasks whose scores may be another model's

    @property
    def name(self) -> str:
        """The run's name."""
        return self.paths.name

    @property
    def stages(self) -> Mapping[str, Any]:
        """What the manifest has about each stage."""
        found: Mapping[str, Any] = self.manifest["stages"]
        return found


def load_run(paths: RunPaths) -> RunData:
    """Return what is stored about the run; raise RunStateError naming a file that cannot be read."""
    manifest = read_manifest(paths.manifest)
    require_whole(manifest, paths.manifest)
    found = run_results(paths)
    results = {stage: {t: r for t, r in tasks.items() if r.believed} for stage, tasks in found.items()}
    results = {stage: tasks for stage, tasks in results.items() if tasks}
    order = [*(stage for stage in CHAIN if stage in results), *(stage for stage in results if stage not in CHAIN)]
    return RunData(
        paths,
        manifest,
        {} if absent(paths.config) else read_remembered(paths.config),
        {stage: _metrics(paths.metrics(stage)) for stage in SECTIONS if not absent(paths.metrics(stage))},
        {path.stem: required_json(path, Report) for path in paths.all_reports()},
        {path.name: _rendered(path) for path in paths.all_rendered()},
        {stage: {task: _scored(paths, result) for task, result in results[stage].items()} for stage in order},
        {stage: [t for t, r in tasks.items() if not r.believed] for stage, tasks in found.items()},
    )


def chosen_samples(paths: RunPaths, stage: str, task: str, ids: Iterable[str]) -> dict[str, Sample]:
    """Return the samples with these ids in full."""
    wanted = set(ids)
    return {sample.id: sample for sample in read_samples(paths.eval_samples(stage, task)) if sample.id in wanted}


def _scored(paths: RunPaths, result: TaskResult) -> Scored:
    scores: dict[str, dict[str, float]] = {}
    labels: dict[str, tuple[str, str]] = {}
    prompts: dict[str, int] = {}
    clusters: dict[str, str] = {}
    repeated = 0
    for sample in whole_samples(paths.eval_samples(result.stage, result.task), result):
        repeated += sample.id in prompts
        prompts[sample.id] = hash(sample.prompt)
        labels[sample.id] = (sample.gold, sample.answer)
        if sample.cluster is not None:
            clusters[sample.id] = sample.cluster
        for name, value in sample.scores.items():
            scores.setdefault(name, {})[sample.id] = float(value)
    return Scored(result, scores, labels, prompts, repeated, clusters)


def _rendered(path: Path) -> str:
    """Return the text of a file that a tool has read; of a training's recipe the report shows the values."""
    text = read_text(path)
    if path.stem in SECTIONS:
        try:
            parse_yaml(text, str(path))
        except ConfigError as error:
            raise unreadable(path, error.what) from None
    return text


def _metrics(path: Path) -> list[dict[str, Any]]:
    with open_stored(path) as file:
        lines = b"\n" in file.readline()
    rows = read_metrics(path)
    if lines and not rows:  # one line alone may be what a killed trainer left
        raise unreadable(path, "no line of it holds metrics")
    return rows
