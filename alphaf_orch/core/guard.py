"""The watchdog of this process: told which marks are in use, it ends what lives under them should `alphaf` be killed.

One a process, started with the first mark (10 ms of CPU). It is no child of ours and in no group of ours
(`programs/guard.py` says how it works), and where it was killed itself it is started again with the next mark.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from alphaf_orch.core.paths import PROGRAMS
from alphaf_orch.core.processes import PREFIX

# Seconds between the request to end and the kill: with it, nothing of a killed `alphaf` lives after ten of them.
ASKED_S = 6.0

_lock = threading.Lock()
_marks: dict[str, str] = {}
_pipe = -1
_last = ""


@contextlib.contextmanager
def survived_by(argv: Sequence[str]) -> Iterator[None]:
    """Have a program started, in the folder of now, should this process be gone before the end of this."""
    global _last
    with _lock:
        _last = json.dumps([list(argv), os.getcwd()])  # noqa: PTH109  (a text)
        _tell(f"!{_last}\n")
    try:
        yield
    finally:
        with _lock:
            _last = ""
            _tell("!\n")


@contextlib.contextmanager
def guarded(mark: str, log: Path | None = None) -> Iterator[None]:
    """Have all that bears the mark, or writes to the log, ended should this process be gone before the end of this."""
    told = str(log.resolve()) if log else ""
    with _lock:
        _marks[mark] = told
        _tell(f"+{mark}\t{told}\n")
    try:
        yield
    finally:
        with _lock:
            _marks.pop(mark, None)
            _tell(f"-{mark}\n")


def _tell(line: str) -> None:
    global _pipe
    if _pipe >= 0:
        try:
            os.write(_pipe, os.fsencode(line))
            return
        except BrokenPipeError:
            os.close(_pipe)
            _pipe = -1
    if _marks or _last:
        _pipe = _start()
        try:
            begun = [f"+{mark}\t{log}\n" for mark, log in _marks.items()]
            os.write(_pipe, os.fsencode("".join([*begun, f"!{_last}\n"])))
        except BrokenPipeError:  # killed at once: what would be left finds the next call (core/lock.py)
            os.close(_pipe)
            _pipe = -1


def _start() -> int:
    """Return where a new watchdog is told; it bears no mark, or it would be ended as what it guards."""
    reads, writes = os.pipe2(os.O_CLOEXEC)
    inherited = os.dup(reads)
    try:
        os.set_inheritable(inherited, True)
        argv = [sys.executable, "-I", "-S", str(PROGRAMS / "guard.py"), str(os.getpid()), str(inherited), str(ASKED_S)]
        env = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        pid = os.posix_spawn(sys.executable, argv, env, file_actions=silent, setsid=True)
        os.waitpid(pid, 0)
    finally:
        os.close(reads)
        os.close(inherited)
    return writes


def works_for(owner: int) -> bool:
    """Return whether a watchdog lives that was started by the process of that number, dead or alive."""
    wanted = [str(PROGRAMS / "guard.py").encode(), str(owner).encode()]
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ended while we looked
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().split(b"\0")[3:5] == wanted:
                return True
    return False
