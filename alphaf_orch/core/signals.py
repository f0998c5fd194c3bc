"""What Ctrl-C, SIGTERM and a hang-up do to `alphaf` itself, from its first instruction to its last.

Before anything is begun they end it on the spot; while it works the first one is raised as KeyboardInterrupt, and
what has to be put in order is, whatever else comes; behind its last word they do nothing. Where a tool runs they are
noted instead (`processes.interrupts_noted`). Imports next to nothing: it is there before everything else.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The descriptor on which a detached call is awaited; no name that every process of ours inherits.
AWAITED = "_DETACHED_ALPHAF"
CODE = 130  # of all three, as of the errors that say so (docs/errors.md)
# From the third one on, whatever is put in order has had its time: whoever hangs in a network disk gets out.
_PATIENT = 2
_AGAIN_S = 0.02

_asked: list[int] = []  # the signals so far


def begin() -> None:
    """Have each of them end this process on the spot: nothing has been begun."""
    _handle(_quit)


def working() -> None:
    """Have the first of them raise KeyboardInterrupt, once; where one is handled so already, begin to count anew."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        return
    _asked.clear()
    sys.unraisablehook = _lost
    _handle(_raise)


def over() -> None:
    """Have none of them do anything: all is done, and the exit code says how."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def noted(number: int) -> None:
    """Count a signal that a handler elsewhere takes: the next one finds this process on its way out."""
    _asked.append(number)


def asked() -> bool:
    """Return whether this process was asked to stop."""
    return bool(_asked)


def asked_by() -> int:
    """Return which signal asked this process to stop, 0 where none did."""
    return _asked[0] if _asked else 0


def name() -> str:
    """Return what asked this process to stop, in words."""
    words = {signal.SIGINT: "Ctrl-C (SIGINT)", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "a hang-up (SIGHUP)"}
    return words.get(signal.Signals(_asked[0]), "") if _asked else "Ctrl-C (SIGINT)"


def _handle(handler: Any) -> None:
    for number in STOPPING:
        # `nohup` has a hang-up ignored, and a shell the Ctrl-C of what it starts with `&` in a script.
        if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGTERM:
            signal.signal(number, handler)


def _quit(number: int, _frame: FrameType | None) -> None:
    noted(number)
    _end(f"alphaf was interrupted by {name()} before it began; nothing was changed")


def _raise(number: int, frame: FrameType | None) -> None:
    if _asked:
        noted(number)
        if len(_asked) > _PATIENT:
            _end("interrupted again; what was being put in order is left as it is")
        return
    if _importing(frame):
        # Half a module would stay behind, and C code makes ImportErrors of whatever ends its imports.
        _later(number)
        return
    noted(number)
    raise KeyboardInterrupt


def _end(why: str) -> NoReturn:
    try:
        os.write(2, f"error: {why}\n".encode())
    finally:  # whether or not somebody reads it
        os._exit(CODE)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _later(number: int) -> None:
    import threading

    timer = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _lost(problem: Any) -> None:
    """Raise again what was raised where nothing can be: in a destructor, in a callback of the collector."""
    if problem.exc_type is not None and issubclass(problem.exc_type, KeyboardInterrupt):
        number = _asked.pop() if _asked else signal.SIGINT
        _later(number)
        return
    sys.__unraisablehook__(problem)
