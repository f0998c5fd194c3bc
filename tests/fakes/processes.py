"""End processes of a test by what their command line holds: for signals that no handle of ours reaches."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path


def living(pids: Iterable[int]) -> list[int]:
    """Return those that still live; zombies have ended."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


def until(reached: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for it, and fail where it does not come."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end(pids: Iterable[int]) -> None:
    """Kill them and return when they are gone: a killed process holds its files and its name for a moment still."""
    left = living(pids)
    for pid in left:
        _send(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while living(left) and time.monotonic() < deadline:
        time.sleep(0.02)


def kill_all(argument: Path, number: int) -> int:
    """Send a signal to every process that has `argument` on its command line; return how many there were.

    After SIGKILL they are gone.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if os.fsencode(argument) in words:
            found.append(int(folder.name))
    for pid in found:
        _send(pid, number)
    if number == signal.SIGKILL:
        end(found)
    return len(found)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself since it was found


def guards_of(owner: int) -> list[int]:
    """Return the watchdogs that a process started, whether or not it lives."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if len(words) > 4 and words[3].endswith(b"/guard.py") and words[4] == str(owner).encode():
            found.append(int(folder.name))
    return found
