"""What a text of somebody else's computes, in a process of its own: so much time, memory and output, and no more."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphaf_orch.core.small_files import parse_json

# Ours, all three: a chat template writes four short turns in milliseconds, with less than a megabyte.
CPU_S = 2
MEMORY_BYTES = 512 << 20  # above what this process has already
ANSWER_BYTES = 4 << 20
_WALL_S = 60.0  # ours: CPU_S on a machine with twenty others at work


class OutOfBoundsError(Exception):
    """What was asked took more than it may, or its process did not survive it; str() says which."""


def confined(task: Callable[[], Any]) -> Any:
    """Return the JSON value that `task` returns, computed by a fork of this process; raise OutOfBoundsError.

    A memory bomb, a loop that python cannot interrupt and a recursion that ends the interpreter end the fork alone.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns where other threads are: the fork renders and ends, and touches nothing of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _compute(task, writer)
    os.close(writer)
    try:
        answer = _received(reader)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if len(answer) > ANSWER_BYTES:
        raise OutOfBoundsError(f"it writes more than {ANSWER_BYTES >> 20} MiB")
    try:
        found = parse_json(answer)
    except ValueError:
        raise OutOfBoundsError(_end(status)) from None
    if "bound" in found:
        raise OutOfBoundsError(found["bound"])
    return found["value"]


def _compute(task: Callable[[], Any], writer: int) -> None:
    """Answer into the pipe and end, whatever happens: nothing of this process's own is run on the way out."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        most = _mapped_bytes() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        try:
            answer = {"value": task()}
        except MemoryError:
            answer = {"bound": f"it takes more than {MEMORY_BYTES >> 20} MiB of memory"}
        except RecursionError:
            answer = {"bound": "it calls itself without an end, or nests too deep"}
        with open(writer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _received(reader: int) -> bytes:
    """Return what comes through until the end, the time or the size that is allowed."""
    waiting, deadline, parts, size = select.poll(), time.monotonic() + _WALL_S, [], 0
    waiting.register(reader, select.POLLIN)
    while size <= ANSWER_BYTES and (left := deadline - time.monotonic()) > 0:
        if not waiting.poll(left * 1000):
            break
        block = os.read(reader, 1 << 20)
        if not block:
            break
        parts.append(block)
        size += len(block)
    return b"".join(parts)


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if -code in (signal.SIGKILL, signal.SIGXCPU):
        return f"it takes more than {CPU_S} seconds"
    if code < 0:
        return f"it ended the interpreter ({signal.Signals(-code).name})"
    return "it cannot be computed"
