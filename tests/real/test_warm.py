"""The warm parent: a program that it serves is what it would have been started cold, and nothing outlives its owner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import warm
from own_process import environment

from alphaf_orch.core.command import QUIET_OFFLINE

FAKES = Path(__file__).parents[1] / "fakes"


def started(python: Path | str, place: Path, how: str, **env: str) -> subprocess.Popen[str]:
    given = environment(place) | QUIET_OFFLINE | {"PYTHONPATH": str(FAKES)} | env
    argv = [str(python), "-m", "warm_probe", how, str(place / "said.json"), "한글 \n"]
    return subprocess.Popen(
        argv, cwd=place, env=given, text=True, start_new_session=True, umask=0o027,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(python: Path | str, place: Path, how: str = "0", **env: str) -> tuple[int, str, str, dict[str, Any]]:
    process = started(python, place, how, **env)
    out, err = process.communicate("들어온 글", timeout=120)
    return process.returncode, out, err, json.loads((place / "said.json").read_text(encoding="utf-8"))


def facts_once_ready(process: subprocess.Popen[str], place: Path) -> dict[str, Any]:
    assert process.stdin and process.stdout
    process.stdin.close()
    process.stdin = None
    assert "ready\n" in iter(process.stdout.readline, "")
    return json.loads((place / "said.json").read_text(encoding="utf-8"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid: int, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


@pytest.mark.parametrize("how", ["0", "3", "raise", "a text"])
def test_a_program_is_given_and_gives_what_it_does_cold(warm_python: Path, tmp_path: Path, how: str) -> None:
    code, out, err, said = ended(warm_python, tmp_path, how)
    assert said["warm"], (warm_python.parent / "served.jsonl").read_text(encoding="utf-8")[-2000:]
    assert said["facts"]["ours"] == [], "no module of ours may be older than its file"
    cold_code, cold_out, cold_err, cold = ended(sys.executable, tmp_path, how)
    assert not cold["warm"]
    assert said["facts"] == cold["facts"]
    assert (code, out) == (cold_code, cold_out)
    assert err.splitlines()[-1] == cold_err.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_client_is_the_program_s(warm_python: Path, tmp_path: Path, number: int) -> None:
    process = started(warm_python, tmp_path, "wait")
    said = facts_once_ready(process, tmp_path)
    assert said["warm"] and alive(said["pid"])
    os.killpg(process.pid, number)
    assert process.wait(timeout=20) == -number
    assert gone(said["pid"])
    process.communicate()


@pytest.mark.parametrize(
    "env", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "0"}, {"PYTHONPATH": f"{FAKES}:/"}]
)
def test_what_the_imports_may_have_read_otherwise_starts_cold(
    warm_python: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    code, *_, said = ended(warm_python, tmp_path, **env)
    assert (code, said["warm"]) == (0, False)


def test_nothing_outlives_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    python = warm.start(owner.pid)
    folder = python.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    process = started(python, tmp_path, "wait")
    said = facts_once_ready(process, tmp_path)
    parent = int(Path(f"/proc/{said['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    assert said["warm"] and alive(parent)
    owner.kill()
    owner.wait()
    process.wait(timeout=20)
    assert gone(said["pid"]) and gone(parent)
    assert not folder.exists()
    process.communicate()
