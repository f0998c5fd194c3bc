"""From lm-eval's files to a result of ours: checked sample by sample, with everything its figures depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alphaf_orch.core.command import printable
from alphaf_orch.core.errors import StageError
from alphaf_orch.core.masking import mask, mask_values
from alphaf_orch.evaluation.cells import Cell, Place
from alphaf_orch.evaluation.checks import check_prompts, check_template, system_facts, system_warnings
from alphaf_orch.evaluation.clusters import with_errors
from alphaf_orch.evaluation.lm_eval_output import LmEvalOutput, read_metrics, read_samples
from alphaf_orch.evaluation.options import SERVERS, counted_rows
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.reference import TrainedSystems
from alphaf_orch.scores.results import Sample, TaskResult


@dataclass(frozen=True)
class Ended:
    """A finished lm-eval process: what it was, what it wrote, and how its model had to be asked."""

    stage: Stage
    output: LmEvalOutput
    facts: Mapping[str, Any] | None  # None where a server renders the prompts
    warnings: Sequence[str]
    started: str
    seconds: float
    versions: Mapping[str, str]


def make_results(
    place: Place, cells: Sequence[Cell], suites: Mapping[str, str], ended: Ended, trained: TrainedSystems | None
) -> list[tuple[TaskResult, list[Sample]]]:
    """Return the result and samples of every cell; raise StageError where one is not what was planned."""
    if ended.facts is not None:
        check_template(ended.output, cells[0].model.stage, ended.facts)
    made = []
    for cell in cells:
        samples = read_samples(ended.output, cell.task.name, cell.task.config, cell.task.cluster)
        rows, limit = counted_rows(cell.task), cell.settings["limit"]
        planned = rows if limit is None or rows is None else min(limit, rows)
        if planned is not None and len(samples) != planned:
            raise StageError(
                f"{cell.task.name} was asked {len(samples)} of {planned} questions",
                where=str(ended.output.file),
                fix="read the log; the same command asks again",
                code="stage.results_incomplete",
            )
        if ended.facts is not None:
            check_prompts(samples, cell.task.config, ended.facts, ended.output.sample_file(cell.task.name))
        if place.target.backend in SERVERS:
            # A server may repeat the key that it was sent.
            samples = [replace(each, answer=mask(each.answer), details=mask_values(each.details)) for each in samples]
        result = _result(place, cell, suites[cell.task.name], ended, trained, len(samples), len(cells))
        result = with_errors(result, samples)
        made.append((result, samples))
    return made


def _result(
    place: Place, cell: Cell, suite: str, ended: Ended, trained: TrainedSystems | None, rows: int, cells: int
) -> TaskResult:
    task, model, facts = cell.task, cell.model, ended.facts
    system = system_facts(task.config, trained)
    prompt = {
        **system,
        "asserted": facts is not None,
        "tokenizer": facts["tokenizer"] if facts else None,
        "tokenizer_identity": place.tokenizer_identity(model) if facts else None,
        **{name: facts[name] if facts else None for name in ("chat_template_sha256", "eos", "pad", "bos")},
    }
    warnings = [*ended.warnings, *system_warnings(task.name, system, facts)]
    if facts is None:
        warnings.append("the server rendered the prompts by its own chat template, which could not be checked")
    return TaskResult(
        task=task.name,
        suite=suite,
        stage=model.stage,
        key=cell.key,
        model={"path": model.path, "revision": model.revision, "identity": model.identity},
        settings=_settings(place, cell, ended),
        prompt=prompt,
        metrics=read_metrics(ended.output, task.name, task.main_metric),
        n=rows,
        # One process asks all tasks: an equal share, so that the shares of a model add up to its time.
        seconds=round(ended.seconds / cells, 1),
        started=ended.started,
        versions=dict(ended.versions),
        warnings=tuple(warnings),
        title=task.title,
    )


def _settings(place: Place, cell: Cell, ended: Ended) -> dict[str, Any]:
    values, task = ended.output.values, cell.task.name
    used, config = values.get("config", {}), values.get("configs", {}).get(task, {})
    return {
        **cell.settings,
        "server": place.target.server,
        "gpus": place.target.gpus,
        "device": used.get("device"),
        "model_dtype": used.get("model_dtype"),
        "batch_size": used.get("batch_size"),
        "batch_sizes": used.get("batch_sizes"),
        "num_fewshot": values.get("n-shot", {}).get(task),
        "generation": config.get("generation_kwargs"),
        "rows": values.get("n-samples", {}).get(task, {}).get("original"),
        "command": printable(ended.stage.argv),
    }
