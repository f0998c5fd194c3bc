"""The faults of a soak: whom each signal is sent to, and what may come of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alphaf_orch.core.errors import Interrupted, StageError
from alphaf_orch.core.processes import Process

TWICE_S = 0.3  # between the two Ctrl-C of somebody who does not wait

Alphaf = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Fault:
    """One kind of end: what is done to the processes of a run, and the exit codes of `alphaf` that are right then.

    0 is right beside them: the signal may come when all is done.
    """

    name: str
    strike: Callable[[Alphaf, Sequence[Process]], None]
    codes: frozenset[int]
    of_children: bool = False


def _signals(*numbers: signal.Signals) -> Callable[[Alphaf, Sequence[Process]], None]:
    def strike(alphaf: Alphaf, _children: Sequence[Process]) -> None:
        for place, number in enumerate(numbers):
            time.sleep(TWICE_S if place else 0)
            alphaf.send_signal(number)

    return strike


def _kill_launcher(_alphaf: Alphaf, children: Sequence[Process]) -> None:
    pids = {child.pid for child in children}
    _kill([child.pid for child in children if child.parent not in pids][:1])


def _kill_rank(_alphaf: Alphaf, children: Sequence[Process]) -> None:
    parents = {child.parent for child in children}
    _kill([child.pid for child in children if child.pid not in parents][-1:])


def _power_cut(alphaf: Alphaf, children: Sequence[Process]) -> None:
    """Stop all before the first is killed: nobody sees another die."""
    everybody = [alphaf.pid, *(child.pid for child in children)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        _kill(everybody, number)


def _kill(pids: Sequence[int], number: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


_INTERRUPTED = frozenset({Interrupted.exit_code})
_FAILED = frozenset({StageError.exit_code})
_KILLED = frozenset({-signal.SIGKILL})

FAULTS = (
    Fault("SIGINT", _signals(signal.SIGINT), _INTERRUPTED),
    Fault("SIGINT twice", _signals(signal.SIGINT, signal.SIGINT), _INTERRUPTED),
    Fault("SIGTERM", _signals(signal.SIGTERM), _INTERRUPTED),
    Fault("SIGHUP", _signals(signal.SIGHUP), _INTERRUPTED),
    Fault("SIGKILL of alphaf", _signals(signal.SIGKILL), _KILLED),
    Fault("SIGKILL of the launcher", _kill_launcher, _FAILED, of_children=True),
    Fault("SIGKILL of a rank", _kill_rank, _FAILED, of_children=True),
    Fault("power cut", _power_cut, _KILLED),
)
