"""Scores already known: in the run, or in the cache that all runs share, found by their key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.lock import waited
from alphaf_orch.core.paths import RunPaths, cache_dir
from alphaf_orch.core.record import copy_atomic
from alphaf_orch.core.stored import absent, set_aside
from alphaf_orch.evaluation.cells import Cell
from alphaf_orch.scores.results import Sample, TaskResult, check_samples, read_result, read_samples, write_result


def shared_file(key: str, suffix: str = ".json") -> Path:
    """Return the file of a result in the cache of all runs."""
    return cache_dir() / "eval" / f"{key}{suffix}"


def in_run(paths: RunPaths, cell: Cell) -> TaskResult | None:
    """Return the run's own scores if they are those of the cell."""
    return _with_key(*_places(paths, cell), cell.key)


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
        if not absent(shared_file(cell.key)):  # damaged: new scores take their place
            _aside((shared_file(cell.key), shared_file(cell.key, ".jsonl")), cache_dir() / "eval")
        return None
    model = {"path": cell.model.path, "revision": cell.model.revision, "identity": cell.model.identity}
    result = replace(found, stage=cell.model.stage, suite=suite, model=model)
    _make_room(paths, cell)
    write_result(paths, result, read_samples(shared_file(cell.key, ".jsonl")))
    return result


def store(paths: RunPaths, cell: Cell, result: TaskResult, samples: list[Sample]) -> None:
    """Write new scores into the run and into the shared cache."""
    _make_room(paths, cell)
    write_result(paths, result, samples)
    _share(paths.eval_result(result.stage, result.task), paths.eval_samples(result.stage, result.task), result.key)


def damage(paths: RunPaths, cell: Cell) -> RunStateError | None:
    """Return what is wrong with the scores that the run has in the cell's place, None where they are whole or none."""
    result, samples = _places(paths, cell)
    if absent(result) and absent(samples):
        return None
    try:
        check_samples(samples, read_result(result))
    except RunStateError as error:
        return error
    return None


def _make_room(paths: RunPaths, cell: Cell) -> None:
    """Put the scores that are about to be replaced into the shared cache, if they are not there; damaged ones aside."""
    old, samples = _places(paths, cell)
    if damage(paths, cell):
        _aside((old, samples), paths.root)
        return
    if not absent(old) and (key := read_result(old).key) != cell.key:
        _share(old, samples, key)


def _aside(files: tuple[Path, ...], root: Path) -> None:
    for path in files:
        if not absent(path):
            set_aside(path, root)


def _places(paths: RunPaths, cell: Cell) -> tuple[Path, Path]:
    stage, task = cell.model.stage, cell.task.name
    return paths.eval_result(stage, task), paths.eval_samples(stage, task)


def _share(result: Path, samples: Path, key: str) -> None:
    target = shared_file(key)
    # Two evaluations of one model may end at once: scores and samples of the cache are those of one of them.
    with waited(target.parent / ".lock"):
        if target.is_file():
            return
        copy_atomic(samples, target.with_suffix(".jsonl"))
        copy_atomic(result, target)


def _with_key(result: Path, samples: Path, key: str) -> TaskResult | None:
    """Return the scores that are kept there under the key, whole; None where they are others, damaged or none."""
    if absent(result) or absent(samples):
        return None
    try:
        found = read_result(result)
        if found.key == key:
            check_samples(samples, found)
    except RunStateError:
        return None  # made again, the damaged ones set aside: `damage` says so
    return found if found.key == key else None
