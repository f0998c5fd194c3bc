"""A run as one JSON value: the state of each stage, key metrics and paths."""

from __future__ import annotations

from typing import Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest, require_whole
from alphaf_orch.core.stored import absent, unreadable
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.runs.chain import MADE, model_folder, newest
from alphaf_orch.runs.damage import by_stage, told
from alphaf_orch.runs.sums import found_damage
from alphaf_orch.runs.watch.findings import recorded
from alphaf_orch.runs.watch.retry import cuts


def run_or_damage(paths: RunPaths) -> dict[str, Any]:
    """Return run_json of a run, or of one whose manifest cannot be read its name, folder and what is wrong."""
    try:
        if absent(paths.manifest):
            raise unreadable(paths.manifest, "it is gone")
        return run_json(paths)
    except RunStateError as error:
        return {"run": paths.name, "folder": str(paths.root), "damaged": error.what, "next": error.fix}


def run_json(paths: RunPaths) -> dict[str, Any]:
    """Return the state of each stage of a run, key metrics and paths; `model` is the newest finished, merged one.

    A finished stage whose files are not what it wrote is "damaged", and its error says which.
    """
    manifest = read_manifest(paths.manifest)
    require_whole(manifest, paths.manifest)
    model = newest(paths, manifest, MADE)
    hurt = by_stage(found_damage(paths, manifest, "look"), paths, manifest)
    return {
        "run": paths.name,
        "folder": str(paths.root),
        "base": manifest.get("model"),
        "base_model": manifest.get("base_model"),
        "base_revision": manifest.get("base_revision"),
        "created": manifest.get("created"),
        "model": str(model_folder(paths, model, manifest)) if model else None,
        "manifest": str(paths.manifest),
        "stages": {
            name: {
                "state": "damaged" if name in hurt else entry["state"],
                "started": entry["started"],
                "ended": entry.get("ended"),
                "seconds": entry.get("seconds"),
                "peak_memory_mib": entry.get("peak_memory_mib"),
                "result": entry.get("result"),
                "error": told(hurt[name], paths.root) if name in hurt else entry.get("error"),
                "watched": [finding.record() for finding in recorded(entry)],
                "retries": cuts(entry),
                "log": str(paths.log(name)),
                "metrics": str(paths.metrics(name)) if paths.metrics(name).is_file() else None,
            }
            for name in STAGE_ORDER
            if (entry := manifest["stages"].get(name))
        },
    }
