"""How a program is ended that was started for a stage: signal by signal, its group first, then all that came of it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable
from typing import Protocol

from alphaf_orch.core import processes, signals
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.patience import ESCALATION, time_given
from alphaf_orch.core.warm import Ended, Forked, WarmLost

_POLL_S = 0.2


class Program(Protocol):
    """A program in a group of its own, which `pid` leads; None where it has not begun."""

    @property
    def pid(self) -> int | None:
        """Its number, and its group's."""

    def poll(self, seconds: float = 0.0) -> Ended | None:
        """Return how it ended, None while it runs."""


def end(process: Program | None, mark: str, patience: float, hurry: threading.Event, *, is_alphaf: bool) -> None:
    """End the program's group, then all else that came of it; raise RunStateError where something lives on.

    `patience`, `hurry` and `is_alphaf` are those of run_logged.
    """
    if isinstance(process, Forked):
        process.give_up()
    known = processes.living(mark)  # before their parents go: a child with an environment of its own has no other tie
    if process is not None and process.pid is not None:
        for number in ESCALATION:
            if _all_ended(process, known) or (hurry.is_set() and number != signal.SIGKILL):
                continue
            softly = is_alphaf and number == signal.SIGINT and signals.goes_on_later()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signals.LATER if softly else number)
            begun = time.monotonic()
            while not _all_ended(process, known) and time.monotonic() < begun + time_given(number) * patience:
                if hurry.is_set() and number != signal.SIGKILL:
                    break
                time.sleep(_POLL_S)
    left = processes.end_all(mark, hurry, known)
    if process is not None:
        _ended(process)  # killed with the rest
    if left:
        raise RunStateError(
            f"not even SIGKILL ends {', '.join(map(str, left))}",
            where="the kernel: mostly a GPU driver or a network disk that does not answer",
            fix="wait until it is gone, or restart the machine; until then the run counts as in use",
            code="run.not_ended",
        )


def _all_ended(process: Program, known: Iterable[processes.Process]) -> bool:
    """Return whether the program has ended, and all that it had in its group: a launcher may go before its trainer."""
    return _ended(process) and not any(processes.group_of(each) == process.pid for each in known)


def _ended(process: Program) -> bool:
    try:
        return process.poll() is not None
    except WarmLost:
        return True  # and what is left of the program is found by its mark
