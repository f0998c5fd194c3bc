"""A run as one JSON value: the state of each stage, key metrics and paths."""

from __future__ import annotations

from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.runs.chain import MADE, model_folder, newest
from alphaf_orch.runs.damage import by_stage, told
from alphaf_orch.runs.sums import found_damage


def run_json(paths: RunPaths) -> dict[str, Any]:
    """Return the state of each stage of a run, key metrics and paths; `model` is the newest finished, merged one.

    A finished stage whose files are not what it wrote is "damaged", and its error says which.
    """
    manifest = read_manifest(paths.manifest)
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
                "watched": entry.get("watched", []),
                "retries": entry.get("retries", []),
                "log": str(paths.log(name)),
                "metrics": str(paths.metrics(name)) if paths.metrics(name).is_file() else None,
            }
            for name in STAGE_ORDER
            if (entry := manifest["stages"].get(name))
        },
    }
