"""What was found out about a large file's bytes: kept on this machine, believed until inode, size or times change.

One small file for each large one, found by its inode. The change time cannot be set back as the modification time can.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import cache_dir
from alphaf_orch.core.record import read_json
from alphaf_orch.core.spoken import say

SMALL_BYTES = 1 << 20  # read anew each time, which costs no more than a look at what is kept
# A change within the tick of a file's own clock leaves its times as they were; the coarsest tick is FAT's.
TICK_NS = 2_000_000_000
_LEFT_S = 3600  # a half-written file of that age is nobody's any more


_found: dict[tuple[object, ...], Mapping[str, Any]] = {}


def found_once(
    kind: str, file: Path, asked: Mapping[str, str], find: Callable[[], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return what `find` finds out about a file; it is asked once until the file, or what is `asked` of it, changes.

    In this process; of a large file in later ones too.
    """
    with file.open("rb") as opened:  # a file server tells the newest times to who opens a file
        before = os.fstat(opened.fileno())
    key = (kind, *asked.values(), *times(before).values())
    if key not in _found:
        facts = kept(kind, before)
        if facts is None or any(facts.get(name) != value for name, value in asked.items()):
            began = time.time_ns()
            facts = {**asked, **find()}
            if lasting(before, began):
                keep(kind, file, before, facts)
                drop_absent(kind)
        _found[key] = facts
    return _found[key]


def times(stat: os.stat_result) -> dict[str, int]:
    """Return what changes with a file's content, or with the file of that name."""
    return {"inode": stat.st_ino, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}


def lasting(stat: os.stat_result, began_ns: int) -> bool:
    """Return whether what was read from `began_ns` on may be kept: the file is large, and a later change would show."""
    return stat.st_size > SMALL_BYTES and began_ns - stat.st_ctime_ns > TICK_NS


def kept(kind: str, stat: os.stat_result) -> Mapping[str, Any] | None:
    """Return what is kept of that kind about a file as it is now, or None."""
    found = _entry(_place(kind, stat.st_ino)) if stat.st_size > SMALL_BYTES else None
    return found if found and all(found.get(name) == value for name, value in times(stat).items()) else None


def keep(kind: str, file: Path, stat: os.stat_result, facts: Mapping[str, Any]) -> None:
    """Keep the facts about a file; a cache that cannot be written is said and stops nothing."""
    place = _place(kind, stat.st_ino)
    partial = place.with_suffix(f".{os.getpid()}.partial")  # other processes write here at the same time
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"path": str(file.absolute()), **times(stat), **facts}), "utf-8")
        partial.replace(place)
    except OSError as error:
        say(f"note: {place.parent} cannot be written ({error.strerror}): {file} is read anew next time", err=True)


def drop_absent(kind: str) -> None:
    """Remove what is kept of files that are no more, and what a killed process left half-written."""
    for place in cache_dir().joinpath(kind).glob("*"):
        with contextlib.suppress(OSError):  # another process removes the same; the next reading tries again
            if place.suffix == ".partial":
                gone = time.time() - place.stat().st_mtime > _LEFT_S
            else:
                found = _entry(place) or {}
                file = Path(str(found.get("path", "")))
                gone = not file.is_file() or file.stat().st_ino != found.get("inode")
            if gone:
                place.unlink()


def _place(kind: str, inode: int) -> Path:
    return cache_dir() / kind / f"{inode}.json"


def _entry(place: Path) -> Mapping[str, Any] | None:
    """Return what is kept in the file; one that is gone or cut off counts as none."""
    found = read_json(place)
    return found if found is not None and "path" in found else None
