"""The only door to other processes: argv in, exit code and resource use out, everything printed goes to a log."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.masking import hides_secrets

# Ctrl-C, then a firm request, then the end: seconds that a tool gets to put its files in order.
_ESCALATION = ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
_POLL_S = 0.2

# What every child gets: nothing leaves the machine, and output arrives when it is printed.
QUIET_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "WANDB_MODE": "offline",
    "COMET_MODE": "offline",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
}


@dataclass(frozen=True)
class Finished:
    """How a process ended; peak_memory_mib is the resident set of its largest process."""

    exit_code: int
    seconds: float
    peak_memory_mib: int


def printable(argv: Sequence[str]) -> str:
    """Return the command as a person would type it."""
    return shlex.join(argv)


def child_env(extra: Mapping[str, str], *, online: bool) -> dict[str, str]:
    """Return the environment of a child: the user's, less accelerate's hidden options, plus ours.

    `online` leaves out the offline switches for the one process that fetches what the user asked for.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE_")}
    ours = {k: v for k, v in QUIET_OFFLINE.items() if not (online and k.endswith("_OFFLINE"))}
    env.update(ours)
    for key, value in extra.items():
        # Scripts of ours are found first, and what the user had on the path stays on it.
        env[key] = os.pathsep.join(filter(None, [value, env.get(key)])) if key == "PYTHONPATH" else value
    return env


def capture(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60) -> tuple[int, str]:
    """Return the exit code and stdout of a short command; 127 where the program does not exist."""
    try:
        done = subprocess.run(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return 127, ""
    return done.returncode, done.stdout


def interactive(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Return the exit code of a program that talks to the user's terminal itself."""
    process = subprocess.Popen(argv, env=env)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal sent it to the program too, which decides what it means.
            continue


@hides_secrets
def run_logged(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    lock_fd: int,
    on_poll: Callable[[], None],
    patience: float = 1.0,
) -> Finished:
    """Run the program to its end, its output appended to `log`; `on_poll` is called a few times a second.

    The child leads a process group of its own and holds the run's lock, so that a run whose `alphaf` was
    killed still counts as in use while a trainer writes to it. An exception (Ctrl-C) ends the whole group
    before it goes on upwards; `patience` multiplies the time that it gets for that.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {printable(argv)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock_fd,),
        )
    usage_kib = 0
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                usage_kib = usage.ru_maxrss
                break
            on_poll()
            time.sleep(_POLL_S)
    finally:
        if process.returncode is None:
            _end_group(process, patience)
    # A rank that outlived its launcher would keep the GPUs.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return Finished(process.returncode, time.monotonic() - started, usage_kib // 1024)


def _end_group(process: subprocess.Popen[bytes], patience: float) -> None:
    for number, seconds in _ESCALATION:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        for _ in _ticks(seconds * patience):
            if process.poll() is not None:
                return


def _ticks(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(_POLL_S)
