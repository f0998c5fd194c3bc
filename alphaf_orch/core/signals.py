"""What Ctrl-C, SIGTERM, a hang-up and SIGUSR1 do to `alphaf` itself, from its first instruction to its last.

Before anything is begun they end it on the spot; while it works the first one is raised as KeyboardInterrupt, and
what has to be put in order is, whatever else comes; behind its last word they do nothing. Where a tool runs they are
noted instead (`processes.interrupts_noted`). SIGUSR1 asks for the same, to go on later, and never hurries anything. A
wish that lies in a run (core.heed) comes as one of them, by `ask`. Imports next to nothing: it is there before
everything else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal, NamedTuple, NoReturn

LATER = signal.SIGUSR1
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, LATER)
# The descriptor on which a detached call is awaited; no name that every process of ours inherits.
AWAITED = "_DETACHED_ALPHAF"
CODE = 130  # of all three, as of the errors that say so (docs/errors.md)
LATER_CODE = 75  # EX_TEMPFAIL of sysexits.h
# From the third one on, whatever is put in order has had its time: whoever hangs in a network disk gets out.
_PATIENT = 2
_AGAIN_S = 0.02

Sort = Literal["signal", "stop", "later"]


class Wished(NamedTuple):
    """Why something was wished, the seconds that there are, 0 where nobody says, and whether a time limit is met."""

    why: str
    seconds: float = 0.0
    limit: bool = False


_asked: list[int] = []  # the signals so far, those of wishes aside
_wished: dict[str, Wished] = {}  # by kind: stop, later
_due: dict[int, Sort] = {}  # sent for a wish, and not come yet
_noted = 0
_lost = ""  # what another process has taken over


def begin() -> None:
    """Have each of them end this process on the spot: nothing has been begun."""
    _handle(_quit)


def working() -> None:
    """Have the first of them raise KeyboardInterrupt, once; where one is handled so already, begin to count anew."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        return
    anew()
    sys.unraisablehook = _unraisable
    _handle(_raise)


def anew() -> None:
    """Forget what came so far."""
    global _noted, _lost
    for kept in (_asked, _wished, _due):
        kept.clear()
    _noted, _lost = 0, ""


def over() -> None:
    """Have none of them do anything: all is done, and the exit code says how."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def ask(kind: Literal["stop", "later"], why: str, seconds: float = 0.0, limit: bool = False) -> None:
    """Ask this process to stop, or to make room, as a signal does; `seconds` is how long whoever wishes it can wait."""
    _wished.setdefault(kind, Wished(why, seconds, limit))
    numbers = (LATER, signal.SIGINT) if kind == "later" else (signal.SIGINT,)
    number = next((each for each in numbers if callable(signal.getsignal(each))), signal.SIGTERM)
    _due[number] = kind
    _send(number)


def taken_over(what: str) -> None:
    """Have this process end at once, with all that it has started: another one works in its place."""
    global _lost
    _lost = what
    _send(signal.SIGTERM)


def noted(number: int) -> Sort:
    """Count a signal that a handler takes, and return what it stands for; the next one finds this process leaving."""
    global _noted
    _noted += 1
    if number in _due:
        return _due.pop(number)
    if number == LATER:
        _wished.setdefault("later", Wished("SIGUSR1"))
        return "later"
    _asked.append(number)
    return "signal"


def asked() -> bool:
    """Return whether this process was asked to stop."""
    return bool(_noted)


def asked_by() -> int:
    """Return which signal asked this process to stop, 0 where none did: nobody, or a wish."""
    return _asked[0] if _asked else 0


def wishes() -> dict[str, Wished]:
    """Return by kind what was wished, `stop` or `later`."""
    return dict(_wished)


def lost() -> str:
    """Return what another process has taken over from this one, empty where none has."""
    return _lost


def goes_on_later() -> bool:
    """Return whether what stops here is to be started again; SIGTERM behind the wish is a time limit's last word."""
    return "later" in _wished and "stop" not in _wished and not _lost and set(_asked) <= {signal.SIGTERM}


def name() -> str:
    """Return what asked this process to stop, in words."""
    words = {signal.SIGINT: "Ctrl-C (SIGINT)", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "a hang-up (SIGHUP)"}
    if _lost:
        return f"another process, which took {_lost} over"
    if _wished and (goes_on_later() or "stop" in _wished):
        return _wished["stop" if "stop" in _wished else "later"].why
    return words.get(signal.Signals(_asked[0]), "") if _asked else words[signal.SIGINT]


def _send(number: int) -> None:
    import threading

    signal.pthread_kill(threading.main_thread().ident or 0, number)  # where it waits, a wait is ended by it


def _handle(handler: Any) -> None:
    for number in STOPPING:
        # `nohup` has a hang-up ignored, and a shell the Ctrl-C of what it starts with `&` in a script.
        if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGTERM:
            signal.signal(number, handler)


def _quit(number: int, _frame: FrameType | None) -> None:
    noted(number)
    _end(f"interrupted by {name()} before anything was begun; nothing was changed")


def _raise(number: int, frame: FrameType | None) -> None:
    if _noted:
        noted(number)
        if len(_asked) > _PATIENT:
            _end("interrupted again; what was being put in order is left as it is")
        return
    if _importing(frame):
        # Half a module would stay behind, and C code makes ImportErrors of whatever ends its imports.
        _soon(os.kill, os.getpid(), number)
        return
    noted(number)
    raise KeyboardInterrupt


def _end(why: str) -> NoReturn:
    said = f"error: {why}"
    with contextlib.suppress(Exception):  # a signal comes at any time, while a module is half there too
        said = sys.modules["alphaf_orch.core.spoken"].spoken(said)
    try:
        os.write(2, f"{said}\n".encode())
    finally:  # whether or not somebody reads it
        os._exit(LATER_CODE if goes_on_later() else CODE)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _soon(call: Callable[..., None], *args: Any) -> None:
    import threading

    timer = threading.Timer(_AGAIN_S, call, args)
    timer.daemon = True
    timer.start()


def _unraisable(problem: Any) -> None:
    """Raise again what was raised where nothing can be: in a destructor, in a callback of the collector."""
    global _noted
    if problem.exc_type is not None and issubclass(problem.exc_type, KeyboardInterrupt):
        _noted = 0
        kind = next(iter(_wished), None)
        if kind and not _asked:
            _soon(ask, kind, *_wished[kind])
        else:
            _soon(os.kill, os.getpid(), _asked.pop() if _asked else signal.SIGINT)
        return
    sys.__unraisablehook__(problem)
