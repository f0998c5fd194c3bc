"""What an interrupt left of a run, told: in the manifest whatever was being done, and how far a training came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from alphaf_orch.core.errors import Interrupted
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.record import now, read_manifest, write_manifest
from alphaf_orch.runs import checkpoints

_SAME = "the same command goes on from the last checkpoint"


@contextlib.contextmanager
def interrupts_told(paths: RunPaths) -> Iterator[None]:
    """Raise Interrupted with how far it came where a stage is interrupted inside, the manifest saying so too."""
    try:
        yield
    except KeyboardInterrupt:  # beside a stage, or in the moments at its ends
        stage = _note(paths)
        if not stage:
            raise
        raise Interrupted(f"{stage} was interrupted", where=str(paths.root), fix=_SAME) from None
    except Interrupted as stop:
        raise Interrupted(stop.what + _standing(paths), where=stop.where, fix=stop.fix) from None


def _note(paths: RunPaths) -> str:
    """Put `interrupted` in the place of `running` in the manifest; return of which stage, empty where of none."""
    manifest = read_manifest(paths.manifest)
    running = [name for name, entry in manifest["stages"].items() if entry.get("state") == "running"]
    for name in running:
        manifest["stages"][name] |= {"state": "interrupted", "ended": now()}
    if running:
        write_manifest(paths.manifest, manifest)
    return running[-1] if running else ""


def _standing(paths: RunPaths) -> str:
    """Return at which step the training that was interrupted last stands and what it goes on from; else nothing."""
    stages = read_manifest(paths.manifest)["stages"]
    stopped = [(entry.get("ended", ""), name) for name, entry in stages.items() if entry.get("state") == "interrupted"]
    name = max(stopped)[1] if stopped else ""
    rows = [row for row in read_metrics(paths.metrics(name)) if "max_steps" in row] if name else []
    if not rows:
        return ""
    newest = checkpoints.seen(paths.adapter(name))
    kept = f"its newest checkpoint is {newest.name}" if newest else "it has no checkpoint yet"
    return f" at about step {rows[-1]['step']} of {rows[-1]['max_steps']}; {kept}"
