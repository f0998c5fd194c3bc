"""The disk that each planned stage needs, in the run's folder or in a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from alphaf_orch.core.places import freed
from alphaf_orch.estimates.disk import merged_bytes, rows_bytes, training_bytes
from alphaf_orch.estimates.shapes import shape_of
from alphaf_orch.inputs.sources import Source
from alphaf_orch.planning.resolved import Resolved
from alphaf_orch.planning.stages import Stage

KEPT = 4  # checkpoints that axolotl keeps where no limit is given (core/builders/base.py)


def disk_needs(resolved: Resolved, found: Sequence[Stage]) -> Mapping[str, int]:
    """Return the bytes that each stage needs; without a shape only those of its rows are known."""
    return {stage.name: _needs(resolved, stage) for stage in found}


def _needs(resolved: Resolved, stage: Stage) -> int:
    architecture = resolved.preset.architecture
    if stage.kind in ("data", "tokenise"):
        data = sum(_size(source) for source in resolved.data[stage.section or "sft"])
        return rows_bytes(data, tokenised=stage.kind == "tokenise")
    if architecture is None:
        return 0
    shape, built = shape_of(architecture), resolved.preset.source not in ("hub", "local")
    if stage.name == "base_model":
        return merged_bytes(shape, 4 if built else 2)
    if stage.kind == "merge":
        # What we build or convert is float32, so its merges are too. Trained whole, the weights are the merge.
        return merged_bytes(shape, 4 if built else 2) if stage.written_last else 0
    if stage.kind != "train" or stage.own_file is None or stage.section is None:
        return 0
    recipe = stage.own_file.values
    limit = int(recipe["save_total_limit"] or KEPT)
    return training_bytes(shape, recipe, stage.section, resolved.engine.name, limit)


def _size(source: Source) -> int:
    place = source.copy or source.snapshot or source.path
    return freed([Path(place).resolve()]) if source.copy or source.size is None else source.size
