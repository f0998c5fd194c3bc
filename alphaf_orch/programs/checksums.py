"""The hashes of a checkpoint, beside it: written by each process when it has saved, compared before anything is loaded.

What resuming loads are pickles, but for safetensors: so a file that no process has recorded is none of the training's.
Records of earlier versions hold the CRC-32 of safetensors and `.metadata` alone; the rest of theirs are zip archives
(torch.save) with checksums of their own.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.programs.common import write_whole
from alphaf_orch.programs.digests import digests

NAME = "alphaf_checksums.json"
_OF_RANK = "alphaf_checksums_{}.json"
_CHUNK = 1 << 22
# A trainer has other work for the cores of its machine, and eight of them read at the same time.
_THREADS = 4
# What torch and its engines load: all but the first are pickles.
_LOADED = (".safetensors", ".bin", ".pt", ".pth", ".pkl", ".distcp")
_SETTINGS = ("trainer_state.json", "adapter_config.json", "config.json", "latest", ".metadata")
# The pieces that each process writes for itself: the Trainer's random states, FSDP's shards, DeepSpeed's.
_PIECE = re.compile(
    r"rng_state_(\d+)\.pth|__(\d+)_\d+\.distcp|(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_\d+_(?:model|optim)_states\.pt"
)
# What no model is made of: a checkpoint of the planned step is the end of the training without it.
_STATES = re.compile(r"(?:optimizer|scheduler|scaler|rng_state|training_args)[^/]*\.|optimizer_0/")


class Unreadable(ValueError):
    """A record of hashes that cannot be read; its name is what it says."""


@dataclass(frozen=True)
class Record:
    """What the processes of a training recorded of a checkpoint: size and hash of each file."""

    files: Mapping[str, tuple[int, str]]
    processes: int


def write_checksums(folder: Path, processes: int = 1, rank: int = 0) -> None:
    """Write size and hash of every file that this process saved in a checkpoint, by one rename.

    The first process answers for what is no other's piece, and for how many processes trained. The files are read back
    while the machine still has them in memory.
    """
    mine = [name for name in _loaded(folder) if _owner(name) == rank]
    found = digests([folder / name for name in mine], threads=_THREADS)
    sizes = [(folder / name).stat().st_size for name in mine]
    kept = {name: [size, digest] for name, size, digest in zip(mine, sizes, found, strict=True)}
    write_whole(
        folder / (_OF_RANK.format(rank) if rank else NAME), json.dumps({"sha256": kept, "processes": processes}) + "\n"
    )


def read_record(folder: Path) -> Record | None:
    """Return what was recorded of a checkpoint, None where nothing was or by an earlier version.

    Raises Unreadable for a record that is damaged, and where one of several processes has written none.
    """
    first = _read(folder / NAME)
    if first is None or "sha256" not in first:
        return None
    files: dict[str, tuple[int, str]] = {}
    processes = first.get("processes")
    if not isinstance(processes, int):
        raise Unreadable(f"{NAME} is damaged")
    for rank in range(max(1, processes)):
        name = _OF_RANK.format(rank) if rank else NAME
        told = _read(folder / name)
        if told is None:
            raise Unreadable(f"{name} is missing: process {rank} did not end its saving")
        files |= _files(told, name)
    return Record(files, processes)


def processes(folder: Path) -> int:
    """Return how many processes wrote a checkpoint, 0 where its record does not say: those of earlier versions."""
    try:
        known = (_read(folder / NAME) or {}).get("processes")
    except Unreadable:
        return 0
    return known if isinstance(known, int) else 0


def names_problem(folder: Path, record: Record, *, weights_only: bool) -> str | None:
    """Return which recorded file is not there in its size, or which other one would be loaded, or None."""
    for name, (size, _) in sorted(record.files.items()):
        if weights_only and _STATES.match(name):
            continue
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} is empty, cut off or damaged ({path.stat().st_size:,} of {size:,} bytes)"
    strange = next((name for name in _loaded(folder) if name not in record.files), None)
    return f"{strange} was not saved by this training" if strange else None


def content_problem(folder: Path, record: Record, *, weights_only: bool) -> str | None:
    """Return which file is not what was saved, or None; every byte is read. Raises OSError."""
    there = [
        name
        for name in sorted(record.files)
        if (folder / name).is_file() and not (weights_only and _STATES.match(name))
    ]
    for name, digest in zip(there, digests([folder / name for name in there]), strict=True):
        if digest != record.files[name][1]:
            return f"{name} is damaged (it is not what was saved)"
    return None


def changed_weights(folder: Path) -> str | None:
    """Return the first file that is not as an earlier version recorded it, the record included, or None.

    Raises OSError where the disk cannot read one.
    """
    if not (folder / NAME).is_file():
        return None
    try:
        known: dict[str, int] = json.loads((folder / NAME).read_text(encoding="utf-8"))["crc32"]
    except (ValueError, TypeError, KeyError):
        return NAME
    return next((n for n, value in known.items() if not (folder / n).is_file() or crc32(folder / n) != value), None)


def crc32(path: Path) -> int:
    """Return the CRC-32 of a file, read in pieces."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value


def _loaded(folder: Path) -> Iterator[str]:
    """Yield the files of a checkpoint that resuming may load, or is decided by."""
    for path in sorted(folder.rglob("*")):
        name = path.name
        loaded = path.suffix in _LOADED or name in _SETTINGS or name.endswith(".index.json")
        if loaded and path.is_file():
            yield path.relative_to(folder).as_posix()


def _owner(name: str) -> int:
    piece = _PIECE.fullmatch(name.rpartition("/")[2])
    return int(next(filter(None, piece.groups()))) if piece else 0


def _read(file: Path) -> dict[str, object] | None:
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unreadable(f"{file.name} is damaged") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{file.name} is damaged")
    return found


def _files(told: Mapping[str, object], name: str) -> dict[str, tuple[int, str]]:
    found = told.get("sha256")
    try:
        assert isinstance(found, dict)
        return {file: (int(size), str(digest)) for file, (size, digest) in found.items()}
    except (AssertionError, TypeError, ValueError) as error:
        raise Unreadable(f"{name} is damaged") from error
