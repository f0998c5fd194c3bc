"""What python has no word for: what others see of a process, whose children orphans are, an end with one's parent."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from alphaf_orch.programs.warm.families import ROOM, ROOM_BYTES

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)


def show_as(argv: Sequence[str], marks: Mapping[str, str]) -> None:
    """Have /proc show the command line and, beside what is there, the variables: they are found by both.

    A fork keeps its parent's. Raises ValueError where the marks are longer than the room; a long command is cut.
    """
    # proc(5): the 48th to 51st fields; what follows the name's bracket begins with the third.
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    arguments, end, variables, last = (int(fields[n - 3]) for n in (48, 49, 50, 51))
    found = ctypes.string_at(variables, last - variables).find(f"{ROOM}=".encode())
    text = b"\0".join(f"{key}={value}".encode() for key, value in marks.items())
    size = len(ROOM) + 1 + ROOM_BYTES
    if found < 0 or len(text) > size - len(ROOM) - 1:
        raise ValueError(f"no room for the marks: {found}, {len(text)} bytes")
    # The name of the room stays in front: a fork of a fork finds it again.
    kept = f"{ROOM}=".encode()
    ctypes.memmove(variables + found, kept + b"\0" + text.ljust(size - len(kept) - 1, b"\0"), size)
    words = b"\0".join(os.fsencode(word) for word in argv)[: end - arguments - 1]
    ctypes.memmove(arguments, words.ljust(end - arguments, b"\0"), end - arguments)


def die_with_parent(number: signal.Signals | None) -> None:
    """Have the kernel send this process the signal when its parent ends; None for no more."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number or 0), 0, 0, 0)


def adopt_orphans() -> None:
    """Have this process be the parent of every descendant whose own parent ends."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> set[int]:
    """Return the living processes that came of this one."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:  # it ended while we looked
                continue
            if fields[0] not in b"ZX":
                parents[int(folder.name)] = int(fields[1])
    found: set[int] = set()
    new = {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found
