"""Stands for a tool's python: has its program forked of the tests' warm parent, or becomes the real python.

Started as `python -IS warm_python.py FOLDER PYTHON ...`.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import NoReturn

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from alphaf_orch.core.warm import PLACE, WarmLost, ask, place_of  # noqa: E402

CHILD = str(REPO / "alphaf_orch" / "_child")
FAKES = str(Path(__file__).parent)


def likened(folder: str, python: str) -> dict[str, str]:
    """Return our environment with the parent's caches and path, where a test's own hold nothing else."""
    env = {key: value for key, value in os.environ.items() if key != PLACE}
    env["TORCHINDUCTOR_CACHE_DIR"] = str(place_of(Path(folder), python) / "torchinductor")
    if not (Path(env.get("HF_HOME", folder)) / "hub").is_dir():
        env["HF_HOME"] = str(place_of(Path(folder), python) / "hf")
    if set(filter(None, env.get("PYTHONPATH", "").split(os.pathsep))) <= {CHILD, str(REPO), FAKES}:
        env["PYTHONPATH"] = os.pathsep.join((CHILD, str(REPO)))
    return env


def ended_as(code: int) -> NoReturn:
    """End with the program's exit code, or by the signal that ended it."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main() -> NoReturn:
    """Run the program and end as it ended."""
    folder, python, *words = sys.argv[1:]
    if words[:2] == ["-m", "alphaf_orch"] or Path(words[0]).name == "alphaf":
        env = {**likened(folder, python), "PYTHONPATH": str(REPO), PLACE: folder}
        os.execve(python, [python, *words], env)
    os.environ[PLACE] = folder
    env = likened(folder, python)
    caught = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    try:
        program = ask([python, *words], env, (0, 1, 2), ())
        while program and program.pid is None and program.refused is None:
            program.poll(600)
    except WarmLost:
        program = None
    if program is None or program.refused is not None:
        del os.environ[PLACE]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, caught)
        os.execv(python, [python, *words])
    for number in caught:
        signal.signal(number, lambda number, _: os.killpg(int(program.pid), number))  # type: ignore[union-attr]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, caught)
    try:
        while not (end := program.poll(600)):
            pass
        ended_as(end.exit_code)
    except WarmLost:
        os._exit(1)


if __name__ == "__main__":
    main()
