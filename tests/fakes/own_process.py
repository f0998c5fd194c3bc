"""Starts the `alphaf` command as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]


def alphaf(place: Path, *args: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run `alphaf` with its runs, cache and hub folder in `place`; return what it said and its exit code."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAF_")}
    env = kept | {
        "PYTHONPATH": str(REPO),
        "ALPHAF_CACHE": str(place / "cache"),
        "ALPHAF_RUNS": str(place / "실행"),
        "HF_HOME": str(place / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    argv = [sys.executable, "-m", "alphaf_orch", *args]
    return subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, timeout=timeout, check=False)
