"""One call of `alphaf` as others see it: what it says stands in a log of the run, and beside it who it is and its end.

`alphaf attach` reads both. A detached call tells whoever started it once it holds the run, and then nobody but its log.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from alphaf_orch.core import streams
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.holder import Holder, myself, read_holder
from alphaf_orch.core.masking import mask
from alphaf_orch.core.record import read_json, write_atomic
from alphaf_orch.core.signals import AWAITED


@dataclass(frozen=True)
class Call:
    """A call that holds a run, or held it last: who, under which lock, where its lines begin, how it ended."""

    holder: Holder
    command: str
    log: Path
    lock: Path
    begins: int
    exit_code: int | None = None


_wanted: Path | None = None
_call: Call | None = None
_awaited = -1
_held = 0


def take_up() -> None:
    """Take up the descriptor of whoever waits for this call, if it is a detached one; its children do not get it."""
    global _awaited
    number = os.environ.pop(AWAITED, "")
    if number.isdigit():
        _awaited = int(number)
        os.set_inheritable(_awaited, False)


def keep_in(log: Path) -> None:
    """Have the lines of this call stand in that log, from when it holds its first lock."""
    global _wanted
    _wanted = log


def holds(lock: Path) -> None:
    """Begin the log, where one is wanted and this is the first lock; whoever awaits a detached call is told."""
    global _call, _held
    _held += 1
    if _wanted is None or _call or not streams.are_lasting():
        return
    begins = _wanted.stat().st_size if _wanted.is_file() else 0
    command = mask(" ".join(["alphaf", *sys.argv[1:]]))
    _call = Call(myself(), command, _wanted, lock.resolve(), begins)
    streams.keep_lines(_wanted)
    _write(_call)
    streams.keep_line(f"$ {command}")
    if _awaited >= 0:
        streams.leave_viewer()
        os.write(_awaited, str(_wanted).encode())
        os.close(_awaited)


def times_held() -> int:
    """Return how often this process has taken a lock: before the first time, all that was refused was asked for."""
    return _held


def ended(code: int) -> None:
    """Write down how this call ended."""
    # A full disk, or a log that is gone, does not change what the call itself ends with.
    with contextlib.suppress(AlphafError, OSError):
        if _call and read_call(_call.log) == _call:  # and no other one began meanwhile
            _write(Call(**{**vars(_call), "exit_code": code}))


def read_call(log: Path) -> Call | None:
    """Return the call that last began in a log; None where none did, or what is written of it cannot be read."""
    try:
        found = read_json(_record(log))
    except OSError:
        return None
    return _read(found, log) if isinstance(found, Mapping) else None


def _read(found: Mapping[str, object], log: Path) -> Call | None:
    holder = read_holder(json.dumps(found.get("holder")).encode())
    command, lock, begins, code = (found.get(key) for key in ("command", "lock", "begins", "exit_code"))
    right = isinstance(command, str) and isinstance(lock, str)
    placed = isinstance(begins, int) and not isinstance(begins, bool) and 0 <= begins < 1 << 63  # an offset of a file
    if not holder or not right or not placed or not isinstance(code, int | None):
        return None
    return Call(holder, str(command), log, Path(str(lock)), int(str(begins)), code)


def _record(log: Path) -> Path:
    return log.with_suffix(".json")


def _write(call: Call) -> None:
    facts = {**vars(call), "holder": asdict(call.holder), "lock": str(call.lock), "log": call.log.name}
    write_atomic(_record(call.log), json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
