"""Our own wheel in a sealed bundle: installed without a network interface, the smoke chain and its report run there.

Of the packages only ours is carried: the lock is a stand-in of one wheel, a .pth that names the packages of the tests'
environment, so that axolotl, torch and the rest come from there. `make test-airgap` does the same with the whole lock.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from small_packages import wheel
from watched import cut_off, without_interface

from alphaf_orch.bundle.make import make_bundle
from alphaf_orch.bundle.request import Request
from alphaf_orch.bundle.target import Target

REPO = Path(__file__).parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
GLIBC = tuple(int(part) for part in platform.libc_ver()[1].split(".")[:2])
# Two steps of each training: all stages of `make smoke`, each with its real tool.
SHORT = ("--set", "max_steps=2", "--set", "dpo.max_steps=2")
THERE = f"""
set -eu
. "$1/env.sh"
cd "$2"
alphaf run --model tiny --run smoke --warm {" ".join(SHORT)}
alphaf report smoke
python -c 'import alphaf_orch; print(alphaf_orch.__file__)'
"""


def checkout(folder: Path) -> Path:
    """Copy what our wheel is built of, with a lock of one package."""
    for name in ("alphaf_orch", "templates"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, folder)
    (folder / "requirements").mkdir()
    (folder / "requirements" / "cpu.lock").write_text("elsewhere==1.0\n", encoding="utf-8")
    (folder / "requirements" / "nodeps.lock").write_text("", encoding="utf-8")
    return folder


def closed(place: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command with no interface, and nothing of the machine that made the bundle: no variable, home or cache."""
    own = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(place), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    begin = [*cut_off(), "env", "-i", *(f"{key}={value}" for key, value in own.items())]
    return subprocess.run(
        [*begin, *argv], cwd=place, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600, check=False
    )


def test_from_our_own_wheel_to_a_report_where_there_is_no_network(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking := without_interface():
        pytest.skip(lacking)
    index = tmp_path_factory.mktemp("index")  # PIP_FIND_LINKS is cut at spaces
    wheel(index, "elsewhere", files={"elsewhere.pth": f"{sysconfig.get_path('purelib')}\n"})
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"CONFIG_FILE": "/dev/null", "NO_INDEX": "1", "FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    request = Request(
        target=Target(PYTHON, platform.machine(), GLIBC), accel="cpu", models=["tiny"],
        checkout=checkout(tmp_path / "checkout"),
    )  # fmt: skip
    bundle, place = tmp_path / "묶음", tmp_path / "닫힌 기계"
    said = [*make_bundle(request, bundle, None, lambda line: None, dry=False)]
    place.mkdir()
    prefix = place / "alphaf"
    base = str(sys._base_executable)  # type: ignore[attr-defined]
    installed = closed(place, "sh", str(bundle / "install.sh"), "--prefix", str(prefix), "--python", base,
                       "--manifest-sha256", said[-2].split()[-1])  # fmt: skip
    assert installed.returncode == 0, installed.stdout + installed.stderr
    done = closed(place, "sh", "-c", THERE, "-", str(prefix), str(place))
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_relative_to(prefix / "venv")
    run = place / "runs" / "smoke"
    assert (run / "report.html").is_file()
    stages = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert {entry["state"] for entry in stages.values()} == {"done"}
    assert "merge_dpo" in stages
