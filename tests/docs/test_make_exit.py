"""What make hides is said: it ends with 2 whatever the exit code of its recipe was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """The folder of an environment whose `alphaf` is this one."""
    place = tmp_path / "환경" / "bin" / "alphaf"
    place.parent.mkdir(parents=True)
    place.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m alphaf_orch "$@"\n', encoding="utf-8")
    place.chmod(0o755)
    return place.parents[1]


def make(venv: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = ["make", "-s", "SKIP_SETUP=1", f"VENV={venv}", *words]
    env = {**os.environ, **environment}
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_the_exit_code_of_alphaf_is_said_through_make(venv: Path) -> None:
    done = make(venv, "report", "RUN=없는실행")
    assert done.returncode == 2  # GNU make has no way to end with another one
    assert done.stderr.splitlines()[3:5] == ["  code:  run.not_found", "  exit:  6 (make ends with 2)"]
    assert "Error 6" in done.stderr  # make's own last line says it too


def test_it_is_said_in_korean(venv: Path) -> None:
    done = make(venv, "report", "RUN=없는실행", ALPHAF_LANG="ko")
    assert "\n  종료: 6 (make는 2로 끝납니다)\n" in done.stderr


def test_called_by_itself_alphaf_says_no_exit_code(venv: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MAKELEVEL"}
    argv = [venv / "bin" / "alphaf", "report", "없는실행"]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "exit:" in done.stderr) == (6, False)
    assert done.stderr.endswith("  code:  run.not_found\n")
