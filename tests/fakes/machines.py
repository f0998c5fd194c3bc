"""Several `alphaf`, one for each machine of a run that share its folder; all of them on this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from alphaf_orch.core.paths import PACKAGE

PROGRAM = Path(__file__).with_name("gpu_machine.py")


class Machines:
    """Starts the same command on each machine, and ends what a test leaves."""

    def __init__(self, config: Path, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, rank: int | None, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `alphaf` on a machine; None: nobody tells it which one it is."""
        told = {} if rank is None else {"ALPHAF_NODE_RANK": str(rank), "ALPHAF_NODE_ADDRESS": "127.0.0.1"}
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), args[0], "--config", str(self.config), *args[1:]],
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **told, **(env or {})},
            cwd=self.folder,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.started.append(process)
        return process

    def both(self, *args: str, env: Mapping[str, str] | None = None) -> list[tuple[int, str]]:
        """Start the command on two machines, under a name of this start; return how each ended, and what it said."""
        env = {"ALPHAF_JOB": f"job {len(self.started)}", **(env or {})}
        return [self.end(process) for process in [self.start(rank, *args, env=env) for rank in (0, 1)]]

    @staticmethod
    def end(process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str]:
        """Return the exit code and all that was said."""
        said, _ = process.communicate(timeout=timeout)
        return process.returncode, said

    def stop(self) -> None:
        """End what a test left running."""
        for process in self.started:
            process.kill()
            if process.stdout and not process.stdout.closed:
                process.communicate()
