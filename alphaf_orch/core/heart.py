"""The signs of life of the locks that this process holds: each is touched, for other machines to see, and watched."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.core import signals
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.holder import BEAT_S, Holder, holder_of
from alphaf_orch.core.spoken import spoken

_change = threading.Condition()
_held: dict[int, tuple[Path, Holder]] = {}
_thread: threading.Thread | None = None


@contextlib.contextmanager
def beating(handle: int, path: Path, me: Holder) -> Iterator[None]:
    """Touch the lock meanwhile; where another one has written itself into it, have this process end at once."""
    global _thread
    with _change:
        _held[handle] = (path, me)
        if _thread is None:
            _thread = threading.Thread(target=_beat, name="signs of life", daemon=True)
            _thread.start()
    try:
        yield
    finally:
        with _change:
            _held.pop(handle, None)
            _change.notify_all()


def _beat() -> None:
    global _thread
    with _change:
        while _held:
            _change.wait(BEAT_S)
            for handle, (path, me) in list(_held.items()):
                # A disk that does not answer: whoever waits counts the silence, and what came of it is seen below.
                with contextlib.suppress(OSError):
                    if holder_of(path) in (me, None):
                        os.utime(handle)
                    else:
                        del _held[handle]
                        _robbed(path)
        _thread = None


def _robbed(path: Path) -> None:
    said = f"error: {path} was taken over by another process: this one gave no sign of life; it stops"
    sys.stderr.write(f"{spoken(said)}\n")
    signals.taken_over(str(path))


def require_held(path: Path) -> None:
    """Raise RunStateError where another process has written itself into a lock of ours: what we know is old.

    A machine that slept wakes up where it was, and looks only every few seconds.
    """
    found = holder_of(path)
    with _change:
        other = [me for held, me in _held.values() if held == path and found not in (me, None)]
    if other or signals.lost() == str(path):
        raise RunStateError(
            f"another process works here: {found}; it took this over while no sign of life came from here",
            where=str(path),
            fix="leave it to that one: nothing more is written from here",
            code="run.taken_over",
        )
