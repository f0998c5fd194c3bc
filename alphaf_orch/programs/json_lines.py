"""Files of JSON lines that programs append to, and may be killed while they do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_BLOCK_BYTES = 1 << 16


def cut_half_line(path: Path) -> None:
    """Take away a last line that has no end, which a killed writer left: the next must not be glued to it."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        # From the end: such a file may be large, its last line is not.
        start, whole = end, 0
        while start and not whole:
            stop, start = start, max(0, start - _BLOCK_BYTES)
            file.seek(start)
            newline = file.read(stop - start).rfind(b"\n")
            whole = start + newline + 1 if newline >= 0 else 0
        if whole < end:
            file.truncate(whole)


def whole_rows(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of the finished lines; half a line, with or without another glued to it, is none."""
    found = []
    for line in text.split("\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
