"""The signs of life of the locks that this process holds: each is touched, for other machines to see, and watched."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.core.holder import BEAT_S, Holder, holder_of

_change = threading.Condition()
_held: dict[int, tuple[Path, Holder]] = {}
_thread: threading.Thread | None = None


@contextlib.contextmanager
def beating(handle: int, path: Path, me: Holder) -> Iterator[None]:
    """Touch the lock meanwhile; where another one has written itself into it, have this process stop as by SIGTERM."""
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
    sys.stderr.write(f"error: {path} was taken over by another process: this one gave no sign of life; it stops\n")
    os.kill(os.getpid(), signal.SIGTERM)
