"""Commands within the time that is left: ended by SIGTERM, then by SIGKILL, with everything they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 45.0  # seconds: a trainer that is stopped writes its checkpoint first


class OutOfTime(Exception):
    """There is less time left than the step may take."""


@dataclass
class Clock:
    """The time that a call has: `left` seconds of it; `stopped` is why it ended before, empty where it did not."""

    end: float
    stopped: str = ""

    @classmethod
    def of(cls, budget: float) -> Clock:
        """Return a clock that has `budget` seconds from now."""
        return cls(time.monotonic() + budget)

    def stop(self, why: str) -> None:
        """End the time now: what runs is ended, and nothing is begun any more."""
        self.end, self.stopped = time.monotonic(), why

    @property
    def left(self) -> float:
        """Seconds that are left, of which PATIENCE are kept for what must be ended."""
        return self.end - time.monotonic() - PATIENCE


def alphaf(*args: str) -> list[str]:
    """Return the argv of an alphaf command in this environment."""
    return [sys.executable, "-m", "alphaf_orch", *args]


def run(
    argv: Sequence[str],
    clock: Clock,
    log: Path,
    *,
    limit: float = 600,
    env: dict[str, str] | None = None,
    until: Callable[[], bool] | None = None,
) -> int:
    """Return the exit code of a command whose output goes to `log`; raise OutOfTime where it had to be ended.

    With `until` it is stopped, as by a scheduler, as soon as that holds, and the code is 0.
    """
    if clock.left <= 0:
        raise OutOfTime(clock.stopped or f"no time was left for {' '.join(argv[:6])} …")
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    stop = begun + min(limit, clock.left)
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=env, start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None:
                if until is not None and until():
                    _end(process)
                    return 0
                passed = time.monotonic() - begun
                if clock.stopped or begun + passed > stop:
                    raise OutOfTime(clock.stopped or f"ended after {passed:.0f} s: {' '.join(argv[:6])} …")
                time.sleep(0.2)
        finally:
            _end(process)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 10.0)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)


def last_words(log: Path, lines: int = 12) -> str:
    """Return the end of a log: what is worth reading of a failure."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(text.splitlines()[-lines:])
