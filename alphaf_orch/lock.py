"""A file that one process holds, and hands to its children: who else wants it is told by whom it is held."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.errors import RunStateError


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[int]:
    """Hold the lock for this process and its children; raise RunStateError, naming `what`, where another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RunStateError(
                f"{what} is in use (by process {file.read().strip() or 'unknown'} or a tool it left)",
                where=str(path.parent),
                fix="wait for it, or end that process; then the same command goes on where it stopped",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()
