"""Where the processes of a stage that hangs stand, written into its log before they are ended."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from alphaf_orch.core.command import capture
from alphaf_orch.core.processes import Process
from alphaf_orch.programs.stacks import SIGNAL

_SPY_S = 20.0  # ours: py-spy stops a process for milliseconds; one that it cannot stop is left
_QUIET_S, _WAIT_S = 0.5, 5.0  # ours: the dumps are written once the log is still for so long, or never will be


def dump(processes: Sequence[Process], log: Path, python: str) -> str:
    """Append the stacks of the processes to the log; return by what they were taken, `py-spy`, `faulthandler` or none.

    py-spy is asked where it is installed beside the tool's python; else the programs print their own (see
    programs/stacks.py), those that do not catch that signal only what the kernel tells of them.
    """
    spy = Path(python).with_name("py-spy")
    _append(log, "alphaf: no progress; where its processes stand:\n")
    taken = set()
    for process in processes:
        _append(log, f"{process}\n  {_state(process.pid)}\n")
        if spy.is_file():
            code, printed = capture((str(spy), "dump", "--nonblocking", "--pid", str(process.pid)), timeout=_SPY_S)
            if code == 0:
                _append(log, printed)
                taken.add("py-spy")
                continue
        if _catches(process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, SIGNAL)
                _until_still(log)
                taken.add("faulthandler")
    _append(log, "alphaf: end of the stacks\n")
    return " and ".join(sorted(taken))


def _append(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


def _state(pid: int) -> str:
    """Return what the kernel tells of a process: `D` in a call that no signal ends, and in which."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        state = re.search(r"^State:\s+(.*)$", status, flags=re.MULTILINE)
        waits = Path(f"/proc/{pid}/wchan").read_text(encoding="utf-8", errors="replace").strip("0 \n")
    except OSError:
        return "it has ended"
    return f"state {state[1] if state else '?'}{f', in {waits}' if waits else ''}"


def _catches(pid: int) -> bool:
    """Return whether a process has a handler for the signal: another would be ended by it, without a word."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s+([0-9a-f]+)$", status, flags=re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (SIGNAL - 1) & 1)


def _until_still(log: Path) -> None:
    end, size, since = time.monotonic() + _WAIT_S, -1, time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < _QUIET_S:
        now = log.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.05)
