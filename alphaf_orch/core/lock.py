"""A file that one process holds: who else wants it is told by whom it is held, a tool that was left behind included."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.processes import Process, command, living, mark_of, opened
from alphaf_orch.core.stored import usable


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[int]:
    """Hold the lock and mark all that is started meanwhile; raise RunStateError, naming who, where it is in use.

    In use is what another process holds, and what a process lives of that was started under the lock: a trainer's
    rank that outlived its `alphaf` still writes there.
    """
    usable(path)
    mark = mark_of(path)
    # Unbuffered: a full disk refuses it where it is written, not when the file is closed.
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened_file = path.open("a+b", buffering=0)
    with opened_file as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().decode(errors="replace").strip()
            raise _in_use(what, path, _holders(path.resolve(), pid, mark)) from None
        left = living(mark)
        if left:
            raise _in_use(what, path, left)
        with writing(path):
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        os.environ[mark] = str(path)
        try:
            yield file.fileno()
        finally:
            del os.environ[mark]


def _holders(path: Path, pid: str, mark: str) -> list[Process]:
    """Return the process that wrote itself into the lock and has it open, or those it left where it is gone."""
    if pid.isdigit() and path in opened(int(pid)):  # the number may be another one's by now, or of another machine
        return [Process(int(pid), command(int(pid)))]
    return living(mark)


def _in_use(what: str, path: Path, by: Sequence[Process]) -> RunStateError:
    numbers = {process.pid for process in by}
    first = [process for process in by if process.parent not in numbers]  # the others go with them
    named = ", ".join(map(str, first[:3])) or "a process of another user or machine"
    more = f" and {len(by) - len(first[:3])} more" if len(by) > len(first[:3]) else ""
    end = f" (kill {' '.join(str(process.pid) for process in first)})" if first else ""
    return RunStateError(
        f"{what} is in use (by {named}{more})",
        where=str(path.parent),
        fix=f"wait for that, or end it{end}; then the same command goes on where it stopped",
    )
