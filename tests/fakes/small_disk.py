"""A disk of a megabyte, to be filled: its name with a space and Korean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KIB = 1 << 10


@contextmanager
def small_disk(place: Path, options: str = "size=1m") -> Iterator[Path]:
    """Mount a disk at a new folder; the test is skipped where we may not."""
    place.mkdir(parents=True)
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    mounted = subprocess.run(argv, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs rights that we do not have here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, left: int = 0) -> None:
    """Leave that many bytes of the disk."""
    (disk / "ballast").unlink(missing_ok=True)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "ballast").write_bytes(b"x" * max(0, free - left))


def empty(disk: Path) -> None:
    """Take away what `fill` put there."""
    (disk / "ballast").unlink()
