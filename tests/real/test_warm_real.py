"""The warm parent with the real tools: what a fork of it finds imported is what a cold start would have made of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import warm as shared

from alphaf_orch.core import warm
from alphaf_orch.core.command import run_logged

PROBE = Path(__file__).parents[1] / "fakes" / "warm_probe.py"


def said(place: Path, folder: Path, name: str) -> tuple[int, dict[str, Any]]:
    """Return the peak and what the probe said, run with the environment of the session's parent."""
    out = place / name
    env = {key: value for key, value in shared.environment(folder).items() if key != "PYTHONSAFEPATH"}
    lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT)
    argv = (sys.executable, "-m", "warm_probe", "0", str(out), "hub")
    done = run_logged(argv, env=env, log=place / f"{name}.log", lock_fd=lock, on_poll=lambda: None, on_cold=pytest.fail)
    os.close(lock)
    assert done.exit_code == 0, (place / f"{name}.log").read_text(encoding="utf-8")
    return done.peak_memory_mib, json.loads(out.read_text(encoding="utf-8"))


def test_a_fork_is_what_a_cold_start_is(warm_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PROBE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warm, "family", lambda words: "base" if words[1] == "warm_probe" else None)
    monkeypatch.setenv(warm.PLACE, str(warm_python.parents[1]))
    _, first = said(tmp_path, warm_python.parents[1], "a")
    peak, second = said(tmp_path, warm_python.parents[1], "a")
    warm.ask_no_more()
    cold_peak, cold = said(tmp_path, warm_python.parents[1], "a")
    assert first["warm"] and second["warm"] and not cold["warm"]
    added = {key for key in first["facts"]["env"] if key not in cold["facts"]["env"]}
    # torch and accelerate set them at their imports, which a cold probe has behind its first line.
    assert added <= {"TORCHINDUCTOR_CACHE_DIR", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
    for key in added:
        del first["facts"]["env"][key]
    assert first["facts"] == cold["facts"]
    assert first["hub"] == cold["hub"] == second["hub"]
    assert all(one != other for one, other in zip(first["drawn"], second["drawn"], strict=True))
    # The tests' parent lives for a quarter of an hour, and the kernel may take back pages that nobody touched.
    assert cold_peak / 2 < peak < 2 * cold_peak
