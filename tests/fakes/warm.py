"""A python for the tools of tests, whose programs are forked of one warm parent: the product's own, for all workers.

`alphaf` itself starts cold under that name, and asks the parent as in an experiment its arms do.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path

from alphaf_orch.core.command import CHILD_PATH, PROGRAM_ENV, child_env
from alphaf_orch.core.warm import place_of
from alphaf_orch.core.warm import start as start_parent

REPO = Path(__file__).resolve().parents[2]
FOUND = os.pathsep.join((CHILD_PATH["PYTHONPATH"], str(REPO)))
# What no test inherits, or each has its own.
LEFT_OUT = ("ALPHAF_", "_ALPHAF_", "HF_", "ACCELERATE_", "CUDA_", "PYTEST_", "PYTHONPATH")


def environment(folder: Path) -> dict[str, str]:
    """Return the environment that the imports of the parent in a folder see."""
    env = {key: value for key, value in child_env(PROGRAM_ENV, online=False).items() if not key.startswith(LEFT_OUT)}
    ours = {key: value for key, value in child_env({}, online=False).items() if key.startswith("HF_")}
    kept = {key: value for key, value in ours.items() if key.endswith(("_OFFLINE", "_TELEMETRY"))}
    return (
        env
        | kept
        | {
            "PYTHONPATH": FOUND,
            "OMP_NUM_THREADS": "1",
            "HF_HOME": str(place_of(folder, sys.executable) / "hf"),
            "TORCHINDUCTOR_CACHE_DIR": str(place_of(folder, sys.executable) / "torchinductor"),
        }
    )


def start(owner: int) -> Path:
    """Start a parent that ends with the process `owner`; return the python that its programs are started with."""
    folder = Path(tempfile.mkdtemp(prefix="alphaf-warm-"))
    start_parent(folder, sys.executable, owner, environment(folder))
    python = place_of(folder, sys.executable) / "python"  # goes with the parent
    words = [sys.executable, "-IS", Path(__file__).with_name("warm_python.py"), folder, sys.executable]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n', encoding="utf-8")
    python.chmod(0o700)
    return python
