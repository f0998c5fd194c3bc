"""Whether the files that each process of a training writes for itself are all there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def numbers(folder: Path, pattern: str) -> set[int]:
    """Return the ranks whose files are in a folder; the pattern's group is the rank."""
    found = (re.fullmatch(pattern, path.name) for path in folder.iterdir())
    return {int(match[1]) for match in found if match}


def absent(found: Iterable[int], processes: int) -> int | None:
    """Return the first rank that has no file, of so many processes or up to the highest that has one, or None."""
    there = set(found)
    return next((rank for rank in range(max(processes, max(there, default=-1) + 1)) if rank not in there), None)
