"""A checkpoint of FSDP as accelerate 1.13.0 writes and reads it (accelerate/utils/fsdp_utils.py:103-330).

FULL_STATE_DICT: pytorch_model_fsdp.bin and optimizer.bin, one torch.save archive each, of rank 0.
SHARDED_STATE_DICT: pytorch_model_fsdp_0/ and optimizer_0/ of torch.distributed.checkpoint: `__RANK_N.distcp`, each a
row of torch.save archives, and a pickle `.metadata` that says which file has what where (torch 2.13,
distributed/checkpoint/filesystem.py:75, :320).
transformers 5.16.1 takes a checkpoint for FSDP's by those names (trainer.py:3347) and wants scheduler.pt beside them.
"""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.runs.saved import trainer
from alphaf_orch.runs.saved.archives import archive_problem, row_problem
from alphaf_orch.runs.saved.pickled import tokens

_MODEL, _OPTIMIZER = "pytorch_model_fsdp", "optimizer"
_METADATA = ".metadata"


def wrote(folder: Path) -> bool:
    """Return whether anything in a checkpoint is FSDP's."""
    names = (_MODEL, _OPTIMIZER)
    return any((folder / f"{name}.bin").is_file() or (folder / f"{name}_0").is_dir() for name in names)


def model_problem(folder: Path, *, read: bool) -> str | None:
    """Return what is wrong with the weights that resuming reads, and with a safetensors model beside them, or None."""
    return _problem(folder, _MODEL, read=read) or trainer.beside_problem(folder)


def states_problem(folder: Path, *, read: bool, needed: bool) -> str | None:
    """Return what is wrong with optimizer, scheduler and random states, or None; absent ones count where needed."""
    lacking = None if (folder / trainer.SCHEDULER).is_file() else f"{trainer.SCHEDULER} is missing"
    wrong = (lacking or trainer.random_problem(folder)) if needed else None
    optimizer = needed or any(folder.glob(f"{_OPTIMIZER}[._]*"))
    return (
        wrong
        or (_problem(folder, _OPTIMIZER, read=read) if optimizer else None)
        or trainer.archives_problem(folder, read=read)
    )


def _problem(folder: Path, name: str, *, read: bool) -> str | None:
    if any((folder / f"{each}_0").is_dir() for each in (_MODEL, _OPTIMIZER)):
        return _shards_problem(folder, f"{name}_0", read=read)
    return archive_problem(folder / f"{name}.bin", read=read)


def _shards_problem(folder: Path, name: str, *, read: bool) -> str | None:
    metadata = folder / name / _METADATA
    if not metadata.is_file():
        return f"{name}/{_METADATA} is missing"
    try:
        files = _places(metadata.read_bytes())
    except (OSError, ValueError) as error:
        return f"{name}/{_METADATA} is empty, cut off or damaged ({error})"
    problems = (
        row_problem(folder / name / file, places, read=read, name=f"{name}/{file}")
        for file, places in sorted(files.items())
    )
    return next(filter(None, problems), None)


def _places(metadata: bytes) -> dict[str, list[tuple[int, int]]]:
    """Return where each file holds what, offset and length, as `_StorageInfo` of the metadata says.

    Raises ValueError where that is no whole pickle, or names no file.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    said = tokens(metadata)
    for token in said:
        if token != "relative_path":
            continue
        file, offset_key, offset, length_key, length = (next(said, None) for _ in range(5))
        if (offset_key, length_key) != ("offset", "length") or not isinstance(file, str):
            raise ValueError("a piece of it has no place")
        if not isinstance(offset, int) or not isinstance(length, int) or Path(file).name != file:
            raise ValueError("a piece of it has no place")
        found.setdefault(file, []).append((offset, length))
    if not found:
        raise ValueError("it names no file")
    return found
