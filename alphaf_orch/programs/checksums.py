"""The checksums of a checkpoint's weights, beside them: written when it is saved, compared before it is used.

Optimizer, scheduler and random states are zip archives (torch.save) with checksums of their own; safetensors has none,
and zeros where a disk lost a block would be trained on in silence.
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


def write_checksums(folder: Path) -> None:
    """Write the checksums of the safetensors files in a folder, the whole file by one rename."""
    found = {path.name: crc32(path) for path in sorted(folder.glob("*.safetensors"))}
    write_whole(folder / NAME, json.dumps({"crc32": found}) + "\n")


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
