"""The processes of a held folder or of one launch, found by a mark that they inherit, and their end.

The mark is a variable in the environment. It outlives what ranks do with what they inherit (closed descriptors, a
session of their own, a parent that died) and `alphaf` itself, and marks of an experiment and of its arms lie beside
each other. Children of a marked process count too, should they have another environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from alphaf_orch.core import signals
from alphaf_orch.core.signals import noted
from alphaf_orch.programs.guard import Marked, stat_fields

PREFIX = "_ALPHAF_"  # not ALPHAF_: no setting of the user's, and not recorded as one
_POLL_S = 0.1
_BOTH_S = 1.5
_SHOWN = 110  # characters of a command line
# What a launcher left behind gets time to end by itself (a tracker sends its last lines), a request, the end.
_LEFT_BEHIND: tuple[tuple[signal.Signals | None, float], ...] = (
    (None, 5.0),
    (signal.SIGTERM, 5.0),
    (signal.SIGKILL, 10.0),
)


@dataclass(frozen=True)
class Process:
    """A living process and the command line it shows."""

    pid: int
    command: str
    born: int = 0  # in clock ticks since the machine started: numbers are given again
    parent: int = 0

    def __str__(self) -> str:
        called = self.command
        if len(called) > _SHOWN:
            called = f"{called[: _SHOWN // 2]} … {called[-_SHOWN // 2 :]}"
        return f"process {self.pid}: {called}" if called else f"process {self.pid}"


def mark_of(path: Path) -> str:
    """Return the mark of all that is started while the lock at `path` is held."""
    return f"{PREFIX}HOLDS_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]}"


def new_mark() -> str:
    """Return a mark for one launch."""
    return f"{PREFIX}LAUNCH_{uuid.uuid4().hex[:16]}"


def inherited_marks() -> dict[str, str]:
    """Return the marks that every child of ours gets: of the locks we hold, and of whoever started us."""
    # Without SPT_NOENV a tool that renames itself (setproctitle) overwrites its environment, as others see it.
    return {"SPT_NOENV": "1", **{key: value for key, value in os.environ.items() if key.startswith(PREFIX)}}


def living(mark: str, known: Iterable[Process] = ()) -> list[Process]:
    """Return the processes under the mark or known before, and their children; ourselves and zombies aside.

    Those of other users are not seen.
    """
    marked = Marked(mark)
    marked.known = {(process.pid, process.born) for process in known}
    found = sorted(marked.look())
    return [Process(pid, command(pid), born, marked.parents[pid]) for pid, born in found]


def command(pid: int) -> str:
    """Return the command line of a process, empty where it is gone or has none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return shlex.join(word.decode("utf-8", "replace") for word in words if word)


def group_of(process: Process) -> int:
    """Return the group of a process, 0 where it has ended."""
    fields = stat_fields(str(process.pid))
    lives = fields and fields[0] not in b"ZX" and int(fields[19]) == process.born
    return int(fields[2]) if lives else 0


def opened(pid: int) -> set[Path]:
    """Return the files that a process has open; none where it is gone or another user's."""
    found = set()
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(handle.readlink())
    return found


def end_all(mark: str, hurry: threading.Event, known: Iterable[Process] = ()) -> list[Process]:
    """End every process under the mark or known before; return those that even SIGKILL did not end within its time.

    Once `hurry` is set, what is left is killed at once.
    """
    left: list[Process] = []
    seen = set(known)
    for number, seconds in _LEFT_BEHIND:
        end = time.monotonic() + seconds
        last = number == signal.SIGKILL
        asked: set[int] = set()
        while time.monotonic() < end and (last or not hurry.is_set()):
            # Twice: one that is born while we look, of a parent that dies meanwhile, is met by the second look.
            left = living(mark, seen) or living(mark, seen)
            seen.update(left)
            if not left:
                return []
            for process in left if number else ():
                if last or process.pid not in asked:
                    asked.add(process.pid)
                    send(process.pid, number)
            time.sleep(_POLL_S)
    return left


def send(pid: int, number: signal.Signals | None) -> None:
    """Send a signal to a process that may be gone."""
    if number:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


@dataclass(frozen=True)
class Stop:
    """Whether the user asked to stop, and asked again."""

    asked: threading.Event = field(default_factory=threading.Event)
    hurry: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def interrupts_noted() -> Iterator[Stop]:
    """Turn Ctrl-C, SIGTERM, a hang-up and SIGUSR1 into a note: nothing is broken off half-way; the end raises it.

    KeyboardInterrupt is raised where all went well but for the wish to stop. Python delivers signals to the main
    thread alone: elsewhere nothing is noted.
    """
    stop = Stop()
    firm = False

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal firm
        sort = noted(number)
        if signals.lost() or (firm and sort == "signal"):
            stop.hurry.set()
        firm = firm or sort == "signal"  # behind a wish it is the first one
        stop.asked.set()

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for caught in signals.STOPPING:
            if callable(signal.getsignal(caught)):  # one that is ignored stays so, and one that simply ends us
                before[caught] = signal.signal(caught, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.asked.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts_passed_on() -> Iterator[list[Callable[[int], None]]]:
    """Pass what asks this process to stop on to who is put into the list.

    Ctrl-C the terminal sends to the program too, and it gives it its own meaning: only where there is no terminal it
    is passed on, a moment later, for whoever sent it may have sent it to both.
    """
    reach: list[Callable[[int], None]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        noted(number)
        for send in reach:
            if number != signal.SIGINT:
                send(number)
            elif not os.isatty(0):
                later = threading.Timer(_BOTH_S, send, (number,))
                later.daemon = True
                later.start()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield reach
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
