"""The only door to other processes: argv in, exit code and resource use out, everything printed goes to a log."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from alphaf_orch.core import processes, signals
from alphaf_orch.core.disk import writing
from alphaf_orch.core.ending import end
from alphaf_orch.core.guard import guarded
from alphaf_orch.core.masking import hides_secrets
from alphaf_orch.core.nodes import LAUNCHERS
from alphaf_orch.core.paths import CHILD, compiled_dir
from alphaf_orch.core.patience import time_given
from alphaf_orch.core.spoken import say
from alphaf_orch.core.stored import usable
from alphaf_orch.core.warm import PLACE, Ended, Forked, ask

_POLL_S = 0.2
_OURS = (PLACE, "MAKELEVEL")  # make called this process, and not its children
_PROBE_POLL_S = 0.02

# What every child gets: nothing leaves the machine, output arrives when it is printed, and a driver is enough.
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
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    # accelerate imports deepspeed, where it is, in every unwrap_model, and that asks for nvcc: no trainer needs it.
    "DS_IGNORE_CUDA_DETECTION": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
}

# Where a tool's python finds our modules, whether or not the package is installed beside it.
CHILD_PATH = {"PYTHONPATH": str(CHILD)}
# Beside that path nothing of the folder that `alphaf` is called in: `-m` would look there first.
PROGRAM_ENV = {**CHILD_PATH, "PYTHONSAFEPATH": "1"}


@dataclass(frozen=True)
class Finished:
    """How a process ended; peak_memory_mib is the resident set of its largest process."""

    exit_code: int
    seconds: float
    peak_memory_mib: int


def printable(argv: Sequence[str]) -> str:
    """Return the command as a person would type it."""
    return shlex.join(argv)


def program(python: str, name: str, *args: str) -> tuple[str, ...]:
    """Return the argv that runs one of our child programs with a tool's own python; it needs PROGRAM_ENV."""
    return (python, "-m", f"alphaf_orch.programs.{name}", *args)


def child_env(extra: Mapping[str, str], *, online: bool) -> dict[str, str]:
    """Return the environment of a child: the user's, less hidden options and ranks of launchers, plus ours.

    `online` leaves out the offline switches for the one process that fetches what the user asked for.
    """
    env = {key: value for key, value in os.environ.items() if not LAUNCHERS.match(key) and key not in _OURS}
    ours = {k: v for k, v in QUIET_OFFLINE.items() if not (online and k.endswith("_OFFLINE"))}
    env.update(ours)
    env.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled_dir()))
    for key, value in extra.items():
        # Modules of ours are found first, and what the user had on the path stays on it.
        env[key] = os.pathsep.join(filter(None, [value, env.get(key)])) if key == "PYTHONPATH" else value
    return env


@dataclass(frozen=True)
class Answer:
    """How a short command ended (None: its time was over, and it was killed), and what it wrote to either stream."""

    exit_code: int | None
    output: str
    errors: str = ""


def answer(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60) -> Answer:
    """Return how a short command ended; 127 where there is no such program."""
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=timeout, check=False, process_group=0,  # a signal to ours (SIGUSR1) would end it, its answer missed
        )  # fmt: skip
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return Answer(127, "")
    except subprocess.TimeoutExpired:  # and it is killed
        return Answer(None, "")
    return Answer(done.returncode, done.stdout, done.stderr)


def capture(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60) -> tuple[int, str]:
    """Return exit code and stdout of a short command; 127 where there is no such program, 124 for one that hangs."""
    found = answer(argv, env=env, timeout=timeout)
    return (124 if found.exit_code is None else found.exit_code), found.output


@dataclass(frozen=True)
class Probed:
    """How a short program ended: its exit code (None: its time was over), and all it printed, both streams in order."""

    exit_code: int | None
    output: str


def probes(
    argvs: Sequence[Sequence[str]], env: Mapping[str, str], seconds: float, stdin: int = subprocess.DEVNULL
) -> list[Probed]:
    """Run short programs side by side and return how each ended, in their order; 127 for one that does not exist.

    What is not ended after so many seconds is killed. Whatever came of the programs is gone in the end.
    """
    mark = processes.new_mark()
    given = {**env, **processes.inherited_marks(), mark: ""}
    hurry = threading.Event()
    hurry.set()
    with contextlib.ExitStack() as kept:
        kept.enter_context(guarded(mark))
        outputs = [kept.enter_context(tempfile.TemporaryFile()) for _ in argvs]
        try:
            started = [_probe(argv, given, output, stdin) for argv, output in zip(argvs, outputs, strict=True)]
            end = time.monotonic() + seconds
            while time.monotonic() < end and any(process and not process.poll() for process in started):
                time.sleep(_PROBE_POLL_S)
            codes = [None if process is None else process.poll() for process in started]
        finally:
            processes.end_all(mark, hurry)
        found = []
        for process, ended, output in zip(started, codes, outputs, strict=True):
            if process:
                process.poll(_POLL_S)  # what was killed is waited for
            output.seek(0)
            code = 127 if process is None else ended.exit_code if ended else None
            found.append(Probed(code, output.read().decode("utf-8", "replace")))
        return found


def _probe(argv: Sequence[str], env: Mapping[str, str], output: BinaryIO, stdin: int) -> _Cold | None:
    try:
        return _Cold(argv, env, output, stdin)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def interactive(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Return the exit code of a program that talks to the user's terminal itself, whatever asks this one to stop.

    What it says on stderr is said in the reader's language. What asked to stop is known to `signals.asked` then.
    """
    mark = processes.new_mark()
    with guarded(mark), processes.interrupts_passed_on() as reach:
        process = subprocess.Popen(argv, env={**env, mark: ""}, stderr=subprocess.PIPE)
        reach.append(process.send_signal)
        told = threading.Thread(target=_tell, args=(process.stderr,), daemon=True)
        told.start()
        code = process.wait()
        processes.end_all(mark, threading.Event())
        told.join()
    return code


def _tell(lines: IO[bytes]) -> None:
    for line in lines:
        say(line.decode("utf-8", "replace").rstrip("\n"), err=True)


@hides_secrets
def run_logged(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    lock_fd: int,
    on_poll: Callable[[], None],
    patience: float = 1.0,
    hurry: threading.Event | None = None,
    is_alphaf: bool = False,
    on_cold: Callable[[str], None] = lambda _: None,
    on_stop: Callable[[float], None] = lambda _: None,
) -> Finished:
    """Run the program to its end, its output appended to `log`; `on_poll` is called a few times a second.

    A warm parent forks it where one serves it (core.warm); `on_cold` is told why one does not, where there is one.
    `on_stop` is told how many seconds it gets to end by itself once the user asks to stop.

    However this is left (an end, an exception, Ctrl-C), every process that came of the program is gone then, its
    ranks in sessions of their own included. An exception first asks the program's group to stop: `patience`
    multiplies the time that it gets, a second Ctrl-C (or `hurry`, once it is set) kills; where it `is_alphaf`
    itself, it is told whether it is to make room (SIGUSR1). Raises RunStateError naming a process that not even
    SIGKILL ends, WarmLost where the parent was lost meanwhile: the program is gone then too.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    usable(log)
    mark = processes.new_mark()
    given = {**env, **processes.inherited_marks(), mark: str(log)}
    process: _Cold | Forked | None = None
    ended: Ended | None = None
    with processes.interrupts_noted() as stop, guarded(mark, log):
        try:
            with writing(log), log.open("ab") as output:
                output.write(f"$ {printable(argv)}\n".encode())
                output.flush()
                process = _started(argv, given, output, lock_fd)
                while not stop.asked.is_set():
                    on_poll()
                    ended = process.poll(_POLL_S)
                    if ended:
                        break
                    if isinstance(process, Forked) and process.refused:
                        on_cold(process.refused)
                        process = _Cold(argv, given, output, subprocess.DEVNULL, lock_fd)
        finally:
            if stop.asked.is_set() and not ended and not signals.lost():
                on_stop(time_given(signal.SIGINT) * patience)
            end(process, mark, patience, hurry or stop.hurry, is_alphaf=is_alphaf)
    assert ended  # or the wish to stop was raised
    return Finished(ended.exit_code, time.monotonic() - started, ended.peak_kib // 1024)


def _started(argv: Sequence[str], env: Mapping[str, str], output: BinaryIO, lock_fd: int) -> _Cold | Forked:
    """Return the program as it was started: by the warm parent where there is one for it, else cold."""
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 (no file of ours)
        streams = (nothing.fileno(), output.fileno(), output.fileno())
        return ask(argv, env, streams, (lock_fd,)) or _Cold(argv, env, output, subprocess.DEVNULL, lock_fd)


class _Cold:
    """A program in a process of its own from the start."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], output: BinaryIO, stdin: int, *kept: int) -> None:
        self._process = subprocess.Popen(
            argv,
            env=env,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=kept,
        )
        self.pid = self._process.pid
        self._watched = os.pidfd_open(self.pid)
        self._ended: Ended | None = None

    def poll(self, seconds: float = 0.0) -> Ended | None:
        """Return how it ended, None while it runs, having waited for so long at most."""
        if self._ended is None and select.select([self._watched], [], [], seconds)[0]:
            _, status, usage = os.wait4(self.pid, 0)
            self._ended = Ended(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
            self._process.returncode = self._ended.exit_code
            os.close(self._watched)
        return self._ended
