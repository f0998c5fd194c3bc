"""Where the libraries keep the training rows that they read: in the run, until the training is done."""

from __future__ import annotations

import shutil
from pathlib import Path

from alphaf_orch.core.cached import data_cache
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.stages import Stage

_READS = ("data", "tokenise", "train")


def rows_env(stage: Stage, paths: RunPaths) -> dict[str, str]:
    """Return the variable that keeps the rows of a stage out of the hub's data cache; the folder is the user's alone.

    One for all stages of a training: what the first one read is not read anew by the next.
    """
    return data_cache(_folder(stage, paths)) if stage.kind in _READS and stage.section else {}


def drop_rows(stage: Stage, paths: RunPaths) -> None:
    """Delete what was kept of the rows once the training is done; what another process holds stays for `clean`."""
    if stage.kind == "train" and stage.section:
        shutil.rmtree(_folder(stage, paths), ignore_errors=True)


def _folder(stage: Stage, paths: RunPaths) -> Path:
    return paths.scratch("datasets") / str(stage.section)
