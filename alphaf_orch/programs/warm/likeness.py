"""Whether a program forked of the warm parent would be what it is when it is started cold."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.programs.warm.child import Imported
from alphaf_orch.programs.warm.families import LAUNCHER, ROOM, ROOM_BYTES, family, module

# What the parent has beyond a cold program: no thread of arrow's allocator may run where a process forks, and the
# order of sets is that of seed 0 in all programs of a parent (cold, a seed that nobody knows unless it is named).
ADDED = {ROOM, "JE_ARROW_MALLOC_CONF", "PYTHONHASHSEED"}
# Variables that are read when a program uses them, not while it imports: ours, accelerate's launcher's, those of the
# OpenMP of other compilers, of unsloth, of shells. Any other must be what it was at the imports, or the program starts
# cold: what of torch, transformers, datasets, hub, OpenMP, MKL and the trackers is read at the import is not known.
LATE_STARTS = ("ALPHAF_", "_ALPHAF_", "ACCELERATE_", "KMP_", "UNSLOTH_COMPILE_", "PYTEST_", "PIP_")
# HF_DATASETS_CACHE is read at the import of `datasets`, and set again in the fork (child.py).
LATE = {"HF_DATASETS_CACHE", "PWD", "OLDPWD", "_", "SHLVL", "SPT_NOENV", "PYTHONSAFEPATH", "COLUMNS", "LINES", *ADDED}
if not Path("/dev/nvidiactl").exists():
    LATE.add("CUDA_VISIBLE_DEVICES")  # nothing to be seen: the CUDA libraries were not asked


def unlike(asked: Mapping[str, Any], begun: Mapping[str, str], imported: Imported) -> str | None:
    """Return why the program asked for starts cold, `begun` being the environment at the imports; None if it is served.

    Among the reasons: a module in the folder it is started in that hides one of a tool, where it looks there first.
    """
    if not asked:
        return "nothing was asked by this user"
    env: Mapping[str, str] = asked["env"]
    name = module(asked["words"])
    if name == LAUNCHER and family(asked["words"]) != "axolotl":
        return "it launches another program than axolotl's"
    if sum(len(f"{key}={value}".encode()) + 1 for key, value in env.items() if key.startswith("_ALPHAF_")) > ROOM_BYTES:
        return "the places that it is found by are too long"
    if env.get("PYTHONHASHSEED", "0") != os.environ.get("PYTHONHASHSEED", "0"):
        return "PYTHONHASHSEED"
    for key in sorted({*env, *begun} - LATE):
        if not key.startswith(LATE_STARTS) and env.get(key) not in (begun.get(key), imported.added.get(key)):
            return f"{key} is not what it was for the programs before"
    if not env.get("PYTHONSAFEPATH") and (hidden := _hidden(Path(asked["cwd"]))):
        return f"{hidden} in the folder it is started in hides a module of its tools"
    return None


def _hidden(folder: Path) -> str | None:
    """Return what lies in a folder under the name of an imported module."""
    known = {name.partition(".")[0] for name in sys.modules} - {"alphaf_orch", "__main__"}  # ours are imported anew
    found = [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    return next((path.name for path in found if path.stem in known), None)
