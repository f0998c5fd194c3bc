"""Free disk and memory, against what a plan needs where one is made."""

from __future__ import annotations

import shutil
from pathlib import Path

from alphaf_orch.core.disk import existing, size
from alphaf_orch.core.errors import HardwareError
from alphaf_orch.core.paths import cache_dir, runs_dir
from alphaf_orch.runs.machine.checks import Check

_GIB = 1 << 30
_LITTLE = 10 * _GIB  # ours: less is not even room for one merged small model
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
    return [space(runs_dir(), needed), space(cache_dir(), None, variable="ALPHAF_CACHE")]


def space(folder: Path, needed: int | None, whose: str = "the run", *, variable: str = "ALPHAF_RUNS") -> Check:
    """Return what is free where a folder lies or will; less than `needed` fails, without it little is warned of.

    `whose` writes that much, and `variable` is what names another place for it.
    """
    free = shutil.disk_usage(existing(folder)).free
    short = needed is not None and free < needed
    little = needed is None and free < _LITTLE
    against = f"{whose} will write about {size(needed)}, {size(free)} are free" if needed is not None else ""
    return Check(
        name="disk",
        state="fail" if short else "warn" if little else "ok",
        evidence=against or f"{size(free)} free",
        fix=f"free some space, or point {variable} at a larger disk" if short or little else "",
        subject=str(folder),
        error=HardwareError,
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
