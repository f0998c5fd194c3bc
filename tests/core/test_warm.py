"""The warm parent without tools: what a program is given, how it ends, who ends with whom, what starts cold."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alphaf_orch.core import warm
from alphaf_orch.core.command import PROGRAM_ENV, child_env, run_logged
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.processes import Process, command
from alphaf_orch.core.progress import StageLine
from alphaf_orch.programs.warm.families import family
from alphaf_orch.runs.launch import launch
from alphaf_orch.runs.warm import warm_programs
from alphaf_orch.settings.config import RunConfig

PROBE = Path(__file__).parents[1] / "fakes" / "warm_probe.py"


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Return a python without any tool: a parent of it has nothing to import."""
    bare = tmp_path / "bare env" / "bin" / "python"
    bare.parent.mkdir(parents=True)
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    (bare.parents[1] / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    bare.symlink_to(base)
    shutil.copy(PROBE, tmp_path / "probe.py")
    return str(bare)


@pytest.fixture
def kept(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep a warm parent that serves the probe; yield the folder it listens in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(warm, "family", lambda words: "base" if words[:2] == ("-m", "probe") else None)
    with warm.kept_warm([python], child_env(PROGRAM_ENV, online=False)):
        yield Path(os.environ[warm.PLACE])


def started(python: str, tmp_path: Path, how: str, name: str = "said.json") -> tuple[str, ...]:
    return (python, "-m", "probe", how, str(tmp_path / name), "한글 \n")


def ran(argv: tuple[str, ...], tmp_path: Path, **given: Any):
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        env = child_env({**PROGRAM_ENV, "ALPHAF_X": "1"}, online=False)
        look = given.pop("on_poll", lambda: None)
        return run_logged(argv, env=env, log=tmp_path / "log", lock_fd=lock, on_poll=look, **given)
    finally:
        os.close(lock)


def said(tmp_path: Path, name: str = "said.json") -> dict[str, Any]:
    return json.loads((tmp_path / name).read_text(encoding="utf-8"))


def once_ready(place: Path, seconds: float = 20) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            time.sleep(0.02)
    raise AssertionError("the program did not begin")


def gone(pid: int, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def parent_of(kept: Path, python: str) -> int:
    return next(p.pid for p in _all() if str(warm.place_of(kept, python)) in p.command)


def _all() -> list[Process]:
    return [Process(int(f.name), command(int(f.name))) for f in Path("/proc").iterdir() if f.name.isdigit()]


@pytest.mark.parametrize("how", ["0", "3", "raise", "a text", "signal"])
def test_a_program_has_what_it_has_cold_and_ends_as_it_does(how, python, kept, tmp_path):
    before = os.umask(0o027)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        by_parent = ran(started(python, tmp_path, how), tmp_path)
        first, log = said(tmp_path), (tmp_path / "log").read_text(encoding="utf-8")
        (tmp_path / "log").unlink()
        warm.ask_no_more()
        cold = ran(started(python, tmp_path, how), tmp_path)
    finally:
        os.umask(before)
    assert first["parent"] != os.getpid() and said(tmp_path)["parent"] == os.getpid()
    assert first["facts"] == said(tmp_path)["facts"]
    assert by_parent.exit_code == cold.exit_code
    assert log.startswith(f"$ {shlex.join(started(python, tmp_path, how))}\n") and "말함\n" in log
    assert log.splitlines()[-1] == (tmp_path / "log").read_text(encoding="utf-8").splitlines()[-1]


def test_nothing_of_one_program_is_in_the_next(python, kept, tmp_path):
    for name in ("a", "b"):
        ran(started(python, tmp_path, "0", name), tmp_path)
    first, second = said(tmp_path, "a"), said(tmp_path, "b")
    assert first["drawn"][0] != second["drawn"][0]
    named = dict.fromkeys(("argv", "orig", "command"))
    assert first["facts"] | named == second["facts"] | named


def test_the_peak_is_that_of_the_program(python, kept, tmp_path):
    small, big = (ran(started(python, tmp_path, how), tmp_path).peak_memory_mib for how in ("0", "big"))
    assert 190 < big - small < 215


@pytest.mark.parametrize(("how", "second", "at_most"), [("wait", False, 5), ("child", False, 5), ("stubborn", True, 8)])
def test_ctrl_c_ends_the_program_and_all_that_came_of_it(how, second, at_most, python, kept, tmp_path):
    place, times = tmp_path / "said.json", []

    def stop() -> None:
        if place.is_file() and place.stat().st_size and len(times) < 1 + second:
            times.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
            if second:
                threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
                times.append(0)

    with pytest.raises(KeyboardInterrupt):
        ran(started(python, tmp_path, how), tmp_path, on_poll=stop)
    assert time.monotonic() - times[0] < at_most + 6 * (how == "child")
    assert gone(said(tmp_path)["pid"], 0.1)
    assert not [process for process in _all() if "time.sleep(60)" in process.command]


def test_a_killed_program_is_told_as_killed(python, kept, tmp_path):
    place = tmp_path / "said.json"
    threading.Thread(target=lambda: os.kill(once_ready(place)["pid"], signal.SIGKILL)).start()
    assert ran(started(python, tmp_path, "wait"), tmp_path).exit_code == -9


def test_a_lost_parent_is_said_once_and_the_program_starts_again_cold(python, kept, tmp_path, capsys):
    place, told = tmp_path / "said.json", []

    def kill() -> None:
        told.append(once_ready(place)["pid"])
        os.kill(parent_of(kept, python), signal.SIGKILL)

    threading.Thread(target=kill).start()
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    line = StageLine(Console(force_terminal=False, width=200), "probe", tmp_path / "m", tmp_path / "log", verbose=False)
    try:
        done = launch((python, "-m", "probe", "once", str(place), str(os.getpid())), line, lock, env=PROGRAM_ENV)
    finally:
        os.close(lock)
    assert done.exit_code == 0 and gone(told[0], 1)
    assert capsys.readouterr().out.count("warm: the warm parent ended") == 1
    assert warm.PLACE not in os.environ
    assert said(tmp_path)["parent"] == os.getpid()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"HF_HUB_OFFLINE": "0"}, "HF_HUB_OFFLINE"),
        ({"OMP_NUM_THREADS": "7"}, "OMP_NUM_THREADS"),
        ({"PYTHONHASHSEED": "5"}, "PYTHONHASHSEED"),
        ({"PYTHONPATH": "/elsewhere"}, "PYTHONPATH"),
        ({"WANDB_DIR": "/x"}, "WANDB_DIR"),
        ({"PYTHONSAFEPATH": ""}, "json.py"),
    ],
)
def test_what_the_imports_may_have_read_otherwise_starts_cold_and_is_said(
    changed, word, python, kept, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "json.py").write_text("")
    monkeypatch.chdir(tmp_path / "elsewhere")
    reasons: list[str] = []
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    env = child_env({**PROGRAM_ENV, **{k: v for k, v in changed.items() if k != "PYTHONPATH"}}, online=False)
    env |= {key: value for key, value in changed.items() if key == "PYTHONPATH"}
    run_logged(
        started(python, tmp_path, "0"), env=env, log=tmp_path / "log", lock_fd=lock, on_poll=lambda: None,
        on_cold=reasons.append,
    )  # fmt: skip
    os.close(lock)
    assert len(reasons) == 1 and word in reasons[0]


def test_only_its_user_can_open_it_and_it_ends_with_the_command(python, kept, tmp_path):
    ran(started(python, tmp_path, "0"), tmp_path)
    pid = parent_of(kept, python)
    assert kept.stat().st_mode & 0o777 == 0o700 and warm.place_of(kept, python).stat().st_mode & 0o777 == 0o700
    sockets = [str(f.readlink()) for f in Path(f"/proc/{pid}/fd").iterdir() if "socket" in str(f.readlink())]
    opened = Path(f"/proc/{pid}/net/tcp").read_text() + Path(f"/proc/{pid}/net/tcp6").read_text()
    assert sockets and not [each for each in sockets if f" {each[8:-1]} " in opened]


def test_nothing_is_left_of_a_command_that_ends_well_or_is_killed(python, tmp_path):
    code = (
        "import os, sys, time\nfrom alphaf_orch.core import warm\n"
        "from alphaf_orch.core.command import PROGRAM_ENV, child_env, run_logged\n"
        "warm.family = lambda words: 'base'\npython, place, how = sys.argv[1:4]\n"
        "lock = os.open(place + '/lock', os.O_RDWR | os.O_CREAT)\n"
        "env = child_env(PROGRAM_ENV, online=False)\n"
        "with warm.kept_warm([python], env):\n"
        "    from pathlib import Path\n"
        "    print(os.environ[warm.PLACE], flush=True)\n"
        "    run_logged((python, '-m', 'probe', how, place + '/said.json'), env=env, log=Path(place) / 'log',\n"
        "               lock_fd=lock, on_poll=lambda: None)\n"
    )
    for how in ("0", "child"):
        (tmp_path / "said.json").unlink(missing_ok=True)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(warm.__file__).parents[2]), str(tmp_path)))}
        argv = [sys.executable, "-c", code, python, str(tmp_path), how]
        owner = subprocess.Popen(argv, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert owner.stdout
        folder = Path(owner.stdout.readline().strip())
        found = once_ready(tmp_path / "said.json")
        if how == "child":
            time.sleep(0.5)
            owner.kill()
        owner.wait(timeout=20)
        owner.stdout.close()
        assert gone(found["pid"]) and gone(found["parent"])
        end = time.monotonic() + 5
        while folder.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not folder.exists()
        assert not [process for process in _all() if "time.sleep(60)" in process.command]


def test_programs_find_their_family():
    launcher = ("-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "-m", "axolotl.cli.train", "x.yaml")
    assert family(launcher) == "axolotl"
    assert family(("-m", "alphaf_orch.programs.training.dpo", "x")) == "trl"
    assert family(("-m", "alphaf_orch.programs.models.fetch_model")) is None
    assert family(("-c", "pass")) is None and family(("-m", "pip")) is None


@pytest.mark.parametrize(
    ("wanted", "key", "default", "gpus", "on"),
    [
        (None, None, False, (), False), (True, None, False, (), True), (None, True, False, (), True),
        (False, True, True, (), False), (None, None, True, (), True), (None, False, True, (), False),
        (True, None, False, ("NVIDIA H100",), False), (None, None, True, ("NVIDIA H100",), False),
    ],
)  # fmt: skip
def test_it_is_for_those_who_ask_and_never_beside_gpus(wanted, key, default, gpus, on, capsys, monkeypatch, python):
    machine, console = Machine(gpus, 2, ()), Console(force_terminal=False, width=200)
    config = RunConfig(model="tiny", warm=key, tools=dict.fromkeys(("axolotl", "dpo", "mergekit"), python))
    with warm_programs(wanted, config, machine, console, default=default):
        assert (warm.PLACE in os.environ) is on
    assert warm.PLACE not in os.environ
    assert ("warm: off" in capsys.readouterr().out) is bool(gpus)


def test_a_recipe_for_gpus_starts_cold(capsys, python):
    console, config = Console(force_terminal=False, width=200), RunConfig(model="tiny", gpus=1)
    with warm_programs(True, config, Machine((), 2, ()), console):
        assert warm.PLACE not in os.environ
    assert "warm: off" in capsys.readouterr().out
