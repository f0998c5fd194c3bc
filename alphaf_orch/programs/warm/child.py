"""A fork of the warm parent becomes a program: what it is given, what it has and how it ends are as if started cold."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import os
import random
import resource
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from alphaf_orch.programs.warm import kernel
from alphaf_orch.programs.warm.families import LAUNCHER, family, module

_START = "_fork_exec"  # of subprocess: what starts a process once all is prepared (python 3.11 to 3.14)
_HIGH = 700  # above every descriptor of ours


@dataclass
class Imported:
    """What the imports of a family left behind, so that every program starts from there."""

    path: list[str]  # sys.path behind what PYTHONPATH names
    added: dict[str, str] = field(default_factory=dict)  # variables, for programs of this family
    launcher_added: dict[str, str] = field(default_factory=dict)  # and for the launcher, which needs `base` alone
    files: set[int] = field(default_factory=set)  # descriptors
    said: bytes = b""
    mapped_kib: int = 0  # of the libraries' files, resident: a fork begins without them and maps what it touches
    generators: list[random.Random] = field(default_factory=list)

    def note(self) -> None:
        """Find the generators of random numbers that modules keep; python itself seeds only the one behind `random`."""
        self.generators = [found for found in gc.get_objects() if type(found) is random.Random]


def start(asked: Mapping[str, Any], streams: Sequence[int], imported: Imported, parent: int) -> NoReturn:
    """Be the program to its end; nothing comes back."""
    code = 1
    try:
        os.setsid()
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        _take_over(streams, asked["held"], imported.files)
        _become(asked, imported)
        os.write(2, imported.said)  # mostly warnings
        code = _run(asked["words"])
    except BaseException:  # noqa: BLE001 (nothing of a program may come back into the parent's loop)
        traceback.print_exc()
    finally:
        os._exit(code)


def _take_over(streams: Sequence[int], held: Sequence[int], kept: set[int]) -> None:
    """Have standard streams and what is to be held open under the numbers that a cold start gives them; no more."""
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, _HIGH) for number in streams]
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 (numbers, not paths)
        number = int(entry)
        if number > 2 and number not in kept and number not in high:
            with contextlib.suppress(OSError):
                os.close(number)
    for number, to in zip(high, (0, 1, 2, *held), strict=True):
        os.dup2(number, to)
        os.close(number)


def _become(asked: Mapping[str, Any], imported: Imported) -> None:
    """Take over folder, environment, limits, signals and path; no chance is shared with another fork."""
    os.chdir(asked["cwd"])
    os.umask(asked["umask"])
    for name, limit in asked["limits"].items():
        with contextlib.suppress(ValueError, OSError):  # a hard limit that this user cannot raise
            resource.setrlimit(getattr(resource, name), tuple(limit))
    for number, ignored in asked["signals"]:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if ignored else usual)
    launches = module(asked["words"]) == LAUNCHER
    _set_up(asked["words"], asked["env"], imported.launcher_added if launches else imported.added, imported.path)
    for generator in imported.generators:
        generator.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:  # cold, it draws its first seed at the import
        sys.modules["torch"].random.default_generator.seed()
    if launches:
        _fork_what_it_launches(imported)


def _set_up(words: Sequence[str], env: Mapping[str, str], added: Mapping[str, str], path: Sequence[str]) -> None:
    os.environ.clear()
    os.environ.update({**env, **added})
    first = [] if env.get("PYTHONSAFEPATH") else [str(Path.cwd())]
    sys.path[:] = [*first, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *path]
    sys.orig_argv = [sys.executable, *words]
    _move_data_cache(env.get("HF_DATASETS_CACHE"))
    importlib.invalidate_caches()
    kernel.show_as(sys.orig_argv, {key: value for key, value in env.items() if key.startswith("_ALPHAF_")})


def _move_data_cache(folder: str | None) -> None:
    """Have `datasets`, where it is imported, keep what it reads where the program is told: it asked at the import."""
    config = getattr(sys.modules.get("datasets"), "config", None)
    if config is None:
        return
    place = Path(folder) if folder else Path(config.DEFAULT_HF_DATASETS_CACHE)
    config.HF_DATASETS_CACHE = place
    downloaded = Path(os.environ.get("HF_DATASETS_DOWNLOADED_DATASETS_PATH") or place / config.DOWNLOADED_DATASETS_DIR)
    config.DOWNLOADED_DATASETS_PATH = downloaded
    extracted = os.environ.get("HF_DATASETS_EXTRACTED_DATASETS_PATH") or downloaded / config.EXTRACTED_DATASETS_DIR
    config.EXTRACTED_DATASETS_PATH = Path(extracted)


def _fork_what_it_launches(imported: Imported) -> None:
    """Have `accelerate launch` fork its one process, for which it would start this python anew."""
    cold: Callable[..., int] = getattr(subprocess, _START)

    def fork(*given: Any) -> int:
        # Of subprocess.Popen._execute_child (python 3.11 and 3.12): argv, programs, closing, what stays open, folder,
        # environment, then the ends of pipes, -1 where the process has this one's streams.
        argv, _, _, _, folder, env, *streams = given
        words = [os.fsdecode(word) for word in argv[1:]]
        if os.fsdecode(argv[0]) != sys.executable or not family(words) or folder or env is None:
            return cold(*given)
        if any(number != -1 for number in streams[:6]):
            return cold(*given)
        pid = os.fork()
        if pid == 0:
            given_env = dict(os.fsdecode(entry).split("=", 1) for entry in env)
            setattr(subprocess, _START, cold)
            code = 1
            try:
                for number in streams[6:8]:
                    os.close(number)  # on which an `exec` that failed would be told
                _set_up(words, given_env, imported.added, imported.path)
                code = _run(words)
            except BaseException:  # noqa: BLE001 (nor may this come back into the launcher)
                traceback.print_exc()
            finally:
                os._exit(code)
        return pid

    setattr(subprocess, _START, fork)


def _run(words: Sequence[str]) -> int:
    """Run `python -m NAME ...` as the interpreter does, to the end of its exit handlers; return the exit code."""
    for name in [name for name in sys.modules if name.split(".")[0] == "alphaf_orch"]:
        del sys.modules[name]  # ours are young in every program
    sys.argv = ["-m", *words[2:]]
    sys.modules.pop(words[1], None)  # imported beforehand, it is run anew
    sys.modules["__main__"] = ModuleType("__main__")
    code = 0
    try:
        runpy._run_module_as_main(words[1])  # type: ignore[attr-defined]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 (the interpreter's own last resort)
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code & 255
