"""A call of `alphaf` on a run or an experiment, followed from outside: its lines as they come, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from alphaf_orch.core.calls import Call, read_call
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.holder import SILENT_S, Holder, Signs
from alphaf_orch.core.paths import RunPaths

_POLL_S = 0.2
_KILLED = 137  # what a shell says of a program that SIGKILL ended


@dataclass
class Attached:
    """The call that is followed; `code` is known once it has ended."""

    command: str
    holder: Holder
    code: int
    call: Call


def attached_call(paths: RunPaths) -> Attached:
    """Return the newest call that held a run, an experiment or an arm; raise RunStateError where none did."""
    found = read_call(paths.log("alphaf"))
    if found is None:
        raise RunStateError(
            f"no alphaf has worked on {paths.full_name} here",
            where=str(paths.root),
            fix="`alphaf runs` lists what there is; one that waits for its turn holds nothing yet",
            code="run.nobody_works",
        )
    return Attached(found.command, found.holder, _KILLED, found)


def follow(attached: Attached) -> Iterator[str]:
    """Yield the lines of the call until it has ended; `code` is its exit code then, 137 where it was killed."""
    call = attached.call
    pulse = Pulse(call)
    with call.log.open(encoding="utf-8", errors="replace") as file:
        file.seek(call.begins)
        while True:
            # Asked first, read then: what is there once it has ended is all of it.
            over = pulse.stopped()
            text = file.read()
            if text:
                yield text
            if over:
                attached.code = _KILLED if pulse.code is None else pulse.code
                return
            time.sleep(_POLL_S)


class Pulse:
    """Whether a call has ended: it said so, or its process is gone, or its lock on another machine stays untouched."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._signs = Signs(call.lock)
        self.code: int | None = None

    def stopped(self) -> bool:
        """Return whether it has; `code` is what it ended with, where it said so."""
        gone = self._gone()  # before its word is read: it may have said it meanwhile
        found = read_call(self.call.log)
        if found and found.holder == self.call.holder:
            self.code = found.exit_code
        return gone or self.code is not None or (found is not None and found.holder != self.call.holder)

    def _gone(self) -> bool:
        if self.call.holder.is_here():
            return self.call.holder.lives(0) is False
        return self._signs.silent_s() > 2 * SILENT_S
