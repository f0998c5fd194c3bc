"""Scores already known: in the run, or in the cache that all runs share, found by their key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.lock import waited
from alphaf_orch.core.paths import RunPaths, cache_dir
from alphaf_orch.core.record import copy_atomic
from alphaf_orch.evaluation.cells import Cell
from alphaf_orch.scores.results import Sample, TaskResult, read_result, read_samples, write_result


def shared_file(key: str, suffix: str = ".json") -> Path:
    """Return the file of a result in the cache of all runs."""
    return cache_dir() / "eval" / f"{key}{suffix}"


def in_run(paths: RunPaths, cell: Cell) -> TaskResult | None:
    """Return the run's own scores if they are those of the cell."""
    stage, task = cell.model.stage, cell.task.name
    return _with_key(paths.eval_result(stage, task), paths.eval_samples(stage, task), cell.key)


def disbelieved(paths: RunPaths, cell: Cell) -> bool:
    """Return whether the run has scores there that an earlier version may have taken from another model."""
    file = paths.eval_result(cell.model.stage, cell.task.name)
    try:
        return file.is_file() and not read_result(file).believed
    except RunStateError:
        return False  # cut off: it is made again in any case


def bring(paths: RunPaths, cell: Cell, suite: str) -> TaskResult | None:
    """Return the cell's scores from the shared cache, now in the run too, or None where no run has made them."""
    found = _with_key(shared_file(cell.key), shared_file(cell.key, ".jsonl"), cell.key)
    if found is None:
        return None
    model = {"path": cell.model.path, "revision": cell.model.revision, "identity": cell.model.identity}
    result = replace(found, stage=cell.model.stage, suite=suite, model=model)
    keep_replaced(paths, cell)
    write_result(paths, result, read_samples(shared_file(cell.key, ".jsonl")))
    return result


def store(paths: RunPaths, cell: Cell, result: TaskResult, samples: list[Sample]) -> None:
    """Write new scores into the run and into the shared cache."""
    keep_replaced(paths, cell)
    write_result(paths, result, samples)
    _share(paths.eval_result(result.stage, result.task), paths.eval_samples(result.stage, result.task), result.key)


def keep_replaced(paths: RunPaths, cell: Cell) -> None:
    """Put the scores that are about to be replaced into the shared cache, if they are not there."""
    old, samples = (
        paths.eval_result(cell.model.stage, cell.task.name),
        paths.eval_samples(cell.model.stage, cell.task.name),
    )
    if not (old.is_file() and samples.is_file()):
        return
    try:
        key = read_result(old).key
    except RunStateError:
        return  # cut off: nothing that could be kept
    if key != cell.key:
        _share(old, samples, key)


def _share(result: Path, samples: Path, key: str) -> None:
    target = shared_file(key)
    # Two evaluations of one model may end at once: scores and samples of the cache are those of one of them.
    with waited(target.parent / ".lock"):
        if target.is_file():
            return
        copy_atomic(samples, target.with_suffix(".jsonl"))
        copy_atomic(result, target)


def _with_key(result: Path, samples: Path, key: str) -> TaskResult | None:
    if not (result.is_file() and samples.is_file()):
        return None
    try:
        found = read_result(result)
    except RunStateError:
        return None  # cut off or of another version: it is made again
    return found if found.key == key else None
