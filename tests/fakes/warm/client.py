"""Stands for a tool's python: hands its program to the warm parent, or becomes the real python where that cannot serve.

Started as `python -IS client.py PARENT PYTHON CLIENT ...`: the parent's folder, the real python, the name this goes by.
"""

from __future__ import annotations

import array
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

# What begins a program's name, and the family of tools it needs; the first that fits.
FAMILIES = (
    ("alphaf_orch.programs.training.dpo", "trl"),
    ("alphaf_orch.programs.training.", "axolotl"),
    ("alphaf_orch.programs.merging.merge_models", "mergekit"),
    ("alphaf_orch.programs.merging.", "axolotl"),
    ("alphaf_orch.programs.evaluation.run_lm_eval", "lm_eval"),
    ("alphaf_orch.programs.evaluation.task_index", "lm_eval"),
    ("alphaf_orch.programs.facts.", None),  # no other test starts them, and one start of each program stays cold
    ("alphaf_orch.programs.evaluation.chat", None),  # sets up the streams of a terminal as they were opened for it
    ("alphaf_orch.programs.versions", None),  # asks for versions, and no tool
    ("alphaf_orch.programs.", "base"),
    ("axolotl.", "axolotl"),
    ("accelerate.", "base"),
    ("warm_probe", "base"),  # of the test of all this
)
# alphaf itself starts cold, and starts its tools with the python that it was started with.
ALPHAF = "import sys, runpy; sys.executable = {!r}; runpy._run_module_as_main('alphaf_orch')"
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]


def family(argv: Sequence[str]) -> str | None:
    """Return the family that serves `python ARGV`, None for what starts cold."""
    if len(argv) < 2 or argv[0] != "-m":
        return None
    return next((name for start, name in FAMILIES if argv[1].startswith(start)), None)


def request(argv: Sequence[str]) -> bytes:
    """Return all that a program gets from who starts it, but for its three streams."""
    umask = os.umask(0)
    os.umask(umask)
    found = {
        "argv": argv,
        "env": dict(os.environ),
        "cwd": str(Path.cwd()),
        "umask": umask,
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS},
    }
    body = json.dumps(found).encode()
    return struct.pack("!I", len(body)) + body


def cold(python: str, client: str, argv: Sequence[str]) -> NoReturn:
    """Become the real python."""
    if argv[:2] == ["-m", "alphaf_orch"]:
        argv = ["-c", ALPHAF.format(client), *argv[2:]]
    os.execv(python, [python, *argv])


def ask(parent: Path, name: str, argv: Sequence[str]) -> socket.socket | None:
    """Return the connection on which the program's end will be told; None where it must start cold."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(parent / f"{name}.sock"))
        body = request(argv)
        streams = array.array("i", [0, 1, 2])
        sent = connection.sendmsg([body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        connection.sendall(body[sent:])
        if connection.recv(1) == b"y":
            return connection
    except OSError:
        pass  # a parent that is gone or could not load its tools serves nobody
    connection.close()
    return None


def end_as(code: int) -> NoReturn:
    """End with the program's exit code, or by the signal that ended it."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def main() -> NoReturn:
    """Run the program and end as it ended."""
    folder, python, client, *argv = sys.argv[1:]
    name = family(argv)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    connection = ask(Path(folder), name, argv) if name else None
    if connection is None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        cold(python, client, argv)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        connection.send(bytes([number]))

    for number in PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    told = connection.recv(4, socket.MSG_WAITALL)
    end_as(struct.unpack("!i", told)[0] if len(told) == 4 else 1)


if __name__ == "__main__":
    main()
