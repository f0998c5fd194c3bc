"""A training that ran out of memory, tried again with the same global batch in smaller pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alphaf_orch.core.errors import AlphafError, OutOfMemory, StageError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.record import now
from alphaf_orch.core.render import override
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs import requeues
from alphaf_orch.runs.watch import memory
from alphaf_orch.runs.watch.findings import recorded
from alphaf_orch.settings.config import RunConfig

MOST = 6  # ours: from 64 rows a micro batch to one; each try loads the model anew
_BY = "out of memory"  # who set the keys, in the file that is rendered and in the manifest

Entry = Mapping[str, Any]


def carried(before: Entry | None, stage: Stage) -> dict[str, Any]:
    """Return what of the record of earlier tries of the same training belongs to the next one's."""
    if before is None or before.get("state") == "done" or before.get("fingerprint") != stage.fingerprint:
        return {}
    watched = [finding.record() for finding in recorded(before)]
    kept = {"watched": watched, "retries": cuts(before), "requeues": requeues.kept(before)}
    return {key: value for key, value in kept.items() if value}


def cuts(entry: Entry) -> list[dict[str, Any]]:
    """Return the cuts of the batch that a stage's record holds, those left out that are not whole."""
    kept = entry.get("retries")
    found = [each for each in kept if isinstance(each, dict)] if isinstance(kept, list) else []
    return [each for each in found if all(isinstance(each.get(key), int) and each[key] > 0 for key in _KEYS[:2])]


def as_tried(stage: Stage, retries: Sequence[Mapping[str, Any]], config: RunConfig) -> Stage:
    """Return the stage with the cut of its batch that the last retry settled on; its fingerprint stays what it is."""
    if not retries or config.on_oom != "retry" or stage.own_file is None:
        return stage
    cut = {key: retries[-1][key] for key in _KEYS if key in retries[-1]}
    path = next(path for path, file in stage.files.items() if file is stage.own_file)
    smaller = override(stage.own_file, [(_BY, cut)], str(path))
    return replace(stage, files={**stage.files, path: smaller})


_KEYS = ("micro_batch_size", "gradient_accumulation_steps", "eval_batch_size")


def judged(error: AlphafError, stage: Stage, paths: RunPaths, config: RunConfig, *, killed: bool) -> AlphafError:
    """Return the error with what to change, where it is of memory: of a training the next cut of its batch."""
    of = memory.short_of(error.what, killed=killed) if isinstance(error, StageError) else None
    if of is None or stage.kind != "train" or stage.own_file is None or stage.section is None:
        return error
    log = paths.log(stage.name)
    training = memory.was_training(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else False
    what = error.what if "too little memory" in error.what else f"the {of} has too little memory: {error.what}"
    fix = memory.advice(stage.section, stage.own_file.values, of, training=training, option=config.on_oom == "retry")
    return OutOfMemory(what, where=error.where, fix=fix, training=training, code="stage.out_of_memory")


def next_try(error: AlphafError, stage: Stage, entry: Entry, paths: RunPaths, config: RunConfig) -> dict[str, Any]:
    """Return the record of a further try with smaller pieces; empty where there is none to make."""
    if not isinstance(error, OutOfMemory) or not error.training or config.on_oom != "retry" or stage.own_file is None:
        return {}
    cut = memory.smaller(stage.own_file.values)
    if cut is None or len(entry.get("retries", ())) >= MOST:
        return {}
    steps = [row["step"] for row in read_metrics(paths.metrics(stage.name)) if "step" in row]
    return {**cut, "after_step": steps[-1] if steps else 0, "at": now(), "error": error.what.splitlines()[0]}


def said(stage: Stage, cut: Mapping[str, Any], retries: int) -> str:
    """Return the line that tells of it."""
    packed = stage.own_file is not None and stage.own_file.values.get("sample_packing")
    again = (
        "; rows are packed anew for it, so that an epoch it goes on in may hold some twice and lack others"
        if packed and cut["after_step"] else ""
    )  # fmt: skip
    return (
        f"{stage.name}: out of memory: try {retries} of {MOST} with micro_batch_size {cut['micro_batch_size']} and"
        f" gradient_accumulation_steps {cut['gradient_accumulation_steps']}, the same global batch{again}"
    )
