"""A python for the tools of a test that starts in milliseconds: a parent that imported them forks for each program.

Not for tests that kill, count processes, look for a mark in an environment or measure memory: the program is no child
of whoever starts it.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
import tempfile
from pathlib import Path

from alphaf_orch.core.command import QUIET_OFFLINE
from warm.server import MODULES

HERE = Path(__file__).parent
# What no test inherits, or each has its own.
_LEFT_OUT = ("ALPHAF_", "_ALPHAF_", "HF_", "ACCELERATE_", "CUDA_", "PYTEST_", "PYTHONPATH")
# The environment that the imports see; what a request may have otherwise is said in server.py.
_SET = QUIET_OFFLINE | {
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # no thread may run where a process forks
}


def start(owner: int) -> Path:
    """Start a parent that ends with the process `owner`; return the python that its programs are started with."""
    folder = Path(tempfile.mkdtemp(prefix="alphaf-warm-"))
    python = folder / "python"
    words = [sys.executable, "-IS", HERE / "client.py", folder, sys.executable, python]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n', encoding="utf-8")
    python.chmod(0o700)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_LEFT_OUT)}
    argv = [sys.executable, str(HERE / "server.py"), str(folder), str(owner)]
    # Bound before anybody can ask: whoever connects waits for the imports.
    listening = [socket.socket(socket.AF_UNIX) for _ in MODULES]
    for name, each in zip(MODULES, listening, strict=True):
        each.bind(str(folder / f"{name}.sock"))
        each.listen(64)
        each.set_inheritable(True)
        argv.append(f"{name}={each.fileno()}")
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT, 0o600)
    os.posix_spawn(
        sys.executable, argv, kept | _SET | {"HF_HOME": str(folder / "hf")}, setsid=True,
        file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
    )  # fmt: skip
    os.close(log)
    for each in listening:
        each.close()
    return python
