"""The checksums of a checkpoint's weights, beside them: written when it is saved, compared before it is used.

Optimizer, scheduler and random states, and the weights that FSDP and DeepSpeed write, are zip archives (torch.save)
with checksums of their own. safetensors has none, nor has the metadata of a sharded checkpoint: zeros where a disk lost
a block would be trained on in silence.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from alphaf_orch.programs.common import write_whole

NAME = "alphaf_checksums.json"
_CHUNK = 1 << 22


def crc32(path: Path) -> int:
    """Return the CRC-32 of a file, read in pieces."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value


def write_checksums(folder: Path, processes: int = 1) -> None:
    """Write the checksums of the files in a folder that have none, and how many processes trained, by one rename."""
    without = sorted([*folder.glob("*.safetensors"), *folder.glob("*/.metadata")])
    found = {path.relative_to(folder).as_posix(): crc32(path) for path in without}
    write_whole(folder / NAME, json.dumps({"crc32": found, "processes": processes}) + "\n")


def processes(folder: Path) -> int:
    """Return how many processes wrote a checkpoint, 0 where its record does not say: those of earlier versions."""
    try:
        known = json.loads((folder / NAME).read_text(encoding="utf-8"))["processes"]
    except (OSError, ValueError, TypeError, KeyError):
        return 0
    return known if isinstance(known, int) else 0


def changed_weights(folder: Path) -> str | None:
    """Return the first file that is not as it was saved, the record included, or None; none where there is no record.

    Raises OSError where the disk cannot read one.
    """
    record = folder / NAME
    if not record.is_file():
        return None
    try:
        known: dict[str, int] = json.loads(record.read_text(encoding="utf-8"))["crc32"]
    except (ValueError, TypeError, KeyError):
        return NAME
    return next((n for n, value in known.items() if not (folder / n).is_file() or crc32(folder / n) != value), None)
