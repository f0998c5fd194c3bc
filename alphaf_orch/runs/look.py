"""What a run looks like from outside: its stages, their figures, its newest finished model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.stages import STAGE_ORDER


def newest_model(paths: RunPaths, manifest: Mapping[str, Any]) -> Path | None:
    """Return the folder of the newest finished, merged model of the run, or None."""
    if manifest["stages"].get("merge_models", {}).get("state") == "done" and paths.merged_models.is_dir():
        return paths.merged_models
    for trainer in ("dpo", "sft"):
        entry = manifest["stages"].get(f"merge_{trainer}", {})
        if entry.get("state") == "done":
            full = entry["spec"].get("adapter") == "full"
            return paths.adapter(trainer) if full else paths.merged(trainer)
    return None


def run_json(paths: RunPaths) -> dict[str, Any]:
    """Return the state of each stage of a run, key metrics and paths; `model` is the newest finished, merged one."""
    manifest = read_manifest(paths.manifest)
    model = newest_model(paths, manifest)
    return {
        "run": paths.name,
        "folder": str(paths.root),
        "base": manifest.get("model"),
        "base_model": manifest.get("base_model"),
        "base_revision": manifest.get("base_revision"),
        "created": manifest.get("created"),
        "model": str(model) if model else None,
        "manifest": str(paths.manifest),
        "stages": {
            name: {
                "state": entry["state"],
                "started": entry["started"],
                "ended": entry.get("ended"),
                "seconds": entry.get("seconds"),
                "peak_memory_mib": entry.get("peak_memory_mib"),
                "result": entry.get("result"),
                "error": entry.get("error"),
                "log": str(paths.root / entry["log"]),
                "metrics": str(paths.metrics(name)) if paths.metrics(name).is_file() else None,
            }
            for name in STAGE_ORDER
            if (entry := manifest["stages"].get(name))
        },
    }
