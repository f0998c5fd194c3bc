"""The figures of a run, from its manifest and its trainers' metrics: seconds, memory, tokens a second, losses."""

from __future__ import annotations

from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.record import read_manifest
from alphaf_orch.runs.remember import training_figures


def stages(run: RunPaths) -> list[dict[str, Any]]:
    """Return what a run's manifest says of each stage, and for a training what its metrics do."""
    return [_stage(run, name, entry) for name, entry in read_manifest(run.manifest)["stages"].items()]


def _stage(run: RunPaths, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    result = entry.get("result") or {}
    found: dict[str, Any] = {"stage": name, "state": entry["state"], "seconds": entry.get("seconds")}
    found["peak_host_memory_mib"] = entry.get("peak_memory_mib")
    if "contract" in result:
        found["contract"] = f"{sum(map(bool, result['contract'].values()))} of {len(result['contract'])} hold"
    if entry.get("error"):
        found["error"] = str(entry["error"]).splitlines()[0]
    if name in ("sft", "dpo"):
        found.update(training(run, name))
    return {key: value for key, value in found.items() if value is not None}


def training(run: RunPaths, stage: str) -> dict[str, Any]:
    """Return what a trainer logged: steps, losses, the median tokens a second, and the peak of its memory."""
    lines = read_metrics(run.metrics(stage))
    losses = [line["loss"] for line in lines if "loss" in line]
    if not losses:
        return {}
    found = training_figures(lines, 0.0)  # its seconds are the manifest's: nothing of `start_s` is told here
    peak, speed = found.get("peak_mib"), found.get("tokens_per_s")
    return {
        "steps": max(line["step"] for line in lines),
        "loss": [round(loss, 4) for loss in losses if loss is not None],
        "tokens_per_s": None if speed is None else round(speed),
        "peak_gpu_memory_mib": None if peak is None else round(peak),
        "trainable_parameters": lines[-1].get("trainable_parameters"),
    }
