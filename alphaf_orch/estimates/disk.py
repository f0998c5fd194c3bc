"""What disk a run needs beside the weights that it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaf_orch.estimates.shapes import Shape
from alphaf_orch.estimates.trained import Section, trained_groups

# Bytes a trained parameter in a checkpoint. Two fp32 Adam moments (8) and the fp32 weight (4); FSDP's FULL_STATE_DICT
# has the weights twice, in pytorch_model_fsdp.bin and in model.safetensors; DeepSpeed adds the bf16 model, which ZeRO-2
# has twice. Measured on a tiny model: 16.2 under FSDP2, 12.3 under ZeRO-3 without the bf16 model.
CHECKPOINT_BYTES = {"ddp": 12, "fsdp2": 16, "hsdp": 16, "zero2": 16, "zero3": 14}


def disk_bytes(
    shape: Shape, recipes: Mapping[Section, Mapping[str, Any]], engine: str, save_total_limit: int, width: int
) -> int:
    """Return the disk a run needs, in bytes, an upper estimate.

    A training writes save_total_limit checkpoints of CHECKPOINT_BYTES a trained parameter, DPO under DDP, and the final
    weights at 4; then come two merged models with `width` bytes a parameter.
    disk = (checkpoint * save_total_limit + 4) * trained, for SFT and DPO, + 2 * width * parameters
    """
    written = 2 * width * shape.parameters
    for section, recipe in recipes.items():
        trained = sum(group.count for group in trained_groups(shape, recipe, section, gpu=True))
        checkpoint = CHECKPOINT_BYTES[engine if section == "sft" else "ddp"]
        written += (checkpoint * save_total_limit + 4) * trained
    return written
