"""What a training used and reached, beside what `alphaf estimate` said of it before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from alphaf_orch.estimates.shapes import shape_of
from alphaf_orch.estimates.speed import flops_per_token, peak_flops
from alphaf_orch.planning.base import find_preset
from alphaf_orch.settings.config import RunConfig

MIB = 2**20


def compared(estimate: Mapping[str, Any], training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a line each for the peak of the GPU's memory, in GB, and tokens a second; nothing where one side lacks.

    `off` is how far the estimate lies above what was measured, as a share of it.
    """
    stage = next((s for s in estimate.get("stages", []) if s["name"] == "sft"), None)
    if stage is None or not training.get("tokens_per_s"):
        return []
    speed, peak = stage.get("tokens_per_s"), stage.get("memory_recorded")
    lines = []
    if peak and training.get("peak_gpu_memory_mib"):
        lines.append(("GPU memory at the peak, GB", peak / 1e9, training["peak_gpu_memory_mib"] * MIB / 1e9))
    if speed:
        lines.append(("tokens/s", speed["value"], training["tokens_per_s"]))
    return [
        {"what": what, "estimated": round(said, 1), "measured": round(found, 1), "off": round(said / found - 1, 3)}
        for what, said, found in lines
    ]


def reached(folder: Path, recipe_file: Path, card: str, tokens_per_s: float, tflops: float | None) -> dict[str, Any]:
    """Return TFLOP/s of a training, and its share of the card's data sheet (MFU) and of `tflops`, if known.

    Operations of a token are those that `alphaf estimate` counts, recomputation included.
    """
    recipe = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    architecture = find_preset(RunConfig(model=str(folder))).architecture
    if architecture is None:
        return {}
    found = flops_per_token(shape_of(architecture), recipe, recipe["sequence_len"]) * tokens_per_s
    peak = peak_flops(card)
    shares = {"of_data_sheet": round(found / peak, 3)} if peak else {}
    if tflops:
        shares["of_matrix_product"] = round(found / 1e12 / tflops, 3)
    return {"tflops": round(found / 1e12, 1), **shares}
