"""Ends the processes that a test left running on purpose."""

import os
from pathlib import Path


def kill_all(argument: Path, number: int) -> int:
    """Send a signal to every process that has `argument` on its command line; return how many there were."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if os.fsencode(argument) in words:
            found.append(int(folder.name))
    for pid in found:
        os.kill(pid, number)
    return len(found)
