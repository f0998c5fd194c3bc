"""Free disk and memory, against what a plan needs where one is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from alphaf_orch.core.disk import existing, size, sizes
from alphaf_orch.core.errors import DiskError
from alphaf_orch.core.paths import cache_dir, runs_dir
from alphaf_orch.core.places import elsewhere
from alphaf_orch.runs.machine.checks import Check

_GIB = 1 << 30
_LITTLE = 10 * _GIB  # ours: less is not even room for one merged small model
_FEW_FILES = 1000  # ours: a run of the whole chain with its evaluation and report makes some hundreds
# cgroup v2, then v1: what a container may use of the machine's memory.
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def disk(needed: int | None) -> list[Check]:
    """Return what is free where runs, built models and scratch files go; less than `needed` for the runs fails."""
    return [space(runs_dir(), needed), space(cache_dir(), None)]


def rooms(needs: Mapping[Path, int], whose: str) -> list[Check]:
    """Return a finding for each file system that `whose` writes to, against all that it writes there."""
    shared: dict[int, list[Path]] = {}
    for folder in needs:
        shared.setdefault(existing(folder).stat().st_dev, []).append(folder)
    return [space(folders[0], sum(needs[each] for each in folders), whose) for folders in shared.values()]


def space(folder: Path, needed: int | None, whose: str = "the run") -> Check:
    """Return what is free where a folder lies or will; less than `needed` fails, without it little is warned of.

    `whose` writes that much. A file system on which hardly a file can be made fails too.
    """
    there = existing(folder)
    free, inodes = shutil.disk_usage(there).free, os.statvfs(there)
    short = needed is not None and free < needed
    little = needed is None and free < _LITTLE
    evidence = f"{size(free)} free"
    if needed is not None:
        evidence = f"{whose} will write about {{}}, {{}} are free".format(*sizes(needed, free))
    no_files = bool(inodes.f_files) and inodes.f_favail < _FEW_FILES
    if no_files:
        evidence = f"{inodes.f_favail} more files can be made of {inodes.f_files:,} (inodes): a run makes {_FEW_FILES}"
    fix = f"free some space (`alphaf clean` lists what is needed no more), or {elsewhere(folder)}"
    return Check(
        name="disk",
        state="fail" if short or no_files else "warn" if little else "ok",
        evidence=evidence,
        fix=fix if short or little or no_files else "",
        subject=str(folder),
        error=DiskError,
        kind="disk.too_little",
        values={"free": free, "needed": needed},
    )


def memory(needed: int | None) -> Check:
    """Return how much memory is free, a container's own limit counted; less than `needed` is warned of."""
    free, limit = available()
    short = needed is not None and free < needed
    within = f", of the {size(limit)} that this container may use" if limit else ""
    against = f"; loading and merging the weights needs about {size(needed)}" if needed else ""
    return Check(
        name="memory",
        state="warn" if short else "ok",
        evidence=f"{size(free)} free{within}{against}",
        fix="end what else runs here, give the container more (--memory), or add swap" if short else "",
        values={"free": free, "limit": limit, "needed": needed},
    )


def available(meminfo: Path = Path("/proc/meminfo")) -> tuple[int, int]:
    """Return the bytes that can be had, and a container's limit (0: none below the machine's own)."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024
    total = int(lines["MemTotal"].split()[0]) * 1024
    for most, used in _LIMITS:
        if most.is_file() and used.is_file():
            text = most.read_text(encoding="utf-8").strip()
            if text.isdigit() and int(text) < total:
                left = int(text) - int(used.read_text(encoding="utf-8"))
                return min(free, max(0, left)), int(text)
    return free, 0
