"""The same call of `alphaf` again, in a session of its own: awaited until it holds its run, then left to itself."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import TextIO

from alphaf_orch.core.signals import AWAITED

OPTION = "--detach"


def start_detached() -> Path | int:
    """Return the log of the call once it holds its run, or its exit code where it ended before.

    What it says until then is said here. It has no terminal, and no hang-up reaches it. Ctrl-C here ends it too.
    """
    out, err, told = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    pid = _spawn(out[1], err[1], told[1])
    for _, writes in (out, err, told):
        os.close(writes)
    try:
        return _awaited(pid, {out[0]: sys.stdout, err[0]: sys.stderr}, told[0])
    except BaseException:
        os.kill(pid, signal.SIGINT)
        os.waitpid(pid, 0)
        raise
    finally:
        for reads, _ in (out, err, told):
            os.close(reads)


def _spawn(out: int, err: int, told: int) -> int:
    argv = [sys.executable, *(word for word in sys.orig_argv[1:] if word != OPTION)]
    heard = os.dup(told)
    os.set_inheritable(heard, True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a program inherits what is ignored
    try:
        return os.posix_spawn(
            sys.executable, argv, {**os.environ, AWAITED: str(heard)}, setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2),
            ],
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(heard)


def _awaited(pid: int, said: dict[int, TextIO], told: int) -> Path | int:
    """Repeat what the call says until it tells that it holds its run, or ends."""
    word = b""
    left = {told, *said}
    while left:
        ready, _, _ = select.select(left, [], [])
        for handle in ready:
            data = os.read(handle, 1 << 16)
            if not data:
                left.discard(handle)
            elif handle == told:
                word += data
            else:
                stream = said[handle]
                stream.flush()
                stream.buffer.write(data)
                stream.flush()
        if word and told not in left:
            return Path(os.fsdecode(word))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
