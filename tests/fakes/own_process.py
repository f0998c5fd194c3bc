"""Starts the `alphaf` command as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from answers import checked

REPO = Path(__file__).parents[2]


def environment(place: Path) -> dict[str, str]:
    """Return the environment of an `alphaf` whose runs, cache and hub folder lie in `place`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAF_")}
    return kept | {
        "PYTHONPATH": str(REPO),
        "ALPHAF_CACHE": str(place / "cache"),
        "ALPHAF_RUNS": str(place / "실행"),
        "HF_HOME": str(place / "hf"),
        # The threads of a toy model spend their time waiting for each other.
        "OMP_NUM_THREADS": "1",
    }


def alphaf(
    place: Path, *args: str, python: Path | str = sys.executable, timeout: float = 1800
) -> subprocess.CompletedProcess[str]:
    """Run `alphaf` by that python, which starts its tools too; return what it said and its exit code.

    Whatever it prints with --json is held to the published schema.
    """
    argv = [str(python), "-m", "alphaf_orch", *args]
    done = subprocess.run(
        argv, cwd=place, env=environment(place), capture_output=True, text=True, timeout=timeout, check=False
    )
    if "--json" in args:
        checked(done.stdout)
    return done
