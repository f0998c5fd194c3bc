"""What disk each stage of a run needs: what it leaves, and what lies beside that while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaf_orch.estimates.shapes import Shape
from alphaf_orch.estimates.trained import Section, trained_groups

# Bytes a trained parameter in a checkpoint. Two fp32 Adam moments (8) and the fp32 weight (4); FSDP's FULL_STATE_DICT
# has the weights twice, in pytorch_model_fsdp.bin and in model.safetensors; DeepSpeed adds the bf16 model, which ZeRO-2
# has twice. Measured on a tiny model: 16.2 under FSDP2, 12.3 under ZeRO-3 without the bf16 model.
CHECKPOINT_BYTES = {"ddp": 12, "fsdp2": 16, "hsdp": 16, "zero2": 16, "zero3": 14}
# A merge is cast to its dtype a file at a time, the old one beside the new; transformers' own files end at 5 GB.
SHARD_BYTES = 5 * 10**9
# Of a byte of training data: 2.5 tokenised, measured on the Korean samples with a vocabulary of 1,024 (13 bytes a
# token); a larger vocabulary makes fewer tokens. And the rows once more, as `datasets` reads them.
PREPARED_BYTES, ROWS_BYTES = 2.5, 1.0
LOG_BYTES = 8 << 20  # ours: logs, metrics, batches and reports of a training of thousands of steps are a few MiB


def training_bytes(
    shape: Shape, recipe: Mapping[str, Any], section: Section, engine: str, save_total_limit: int
) -> int:
    """Return what a training needs, in bytes, an upper estimate; DPO trains under DDP.

    The oldest checkpoint goes when the next one is written: limit + 1 of CHECKPOINT_BYTES a trained parameter, and the
    final weights at 4.
    disk = (checkpoint * (save_total_limit + 1) + 4) * trained
    """
    trained = sum(group.count for group in trained_groups(shape, recipe, section, gpu=True))
    checkpoint = CHECKPOINT_BYTES[engine if section == "sft" else "ddp"]
    return (checkpoint * (save_total_limit + 1) + 4) * trained + LOG_BYTES


def merged_bytes(shape: Shape, width: int) -> int:
    """Return what a merge needs: the model at `width` bytes a parameter, and a file of it twice."""
    whole = width * shape.parameters
    return whole + min(whole, SHARD_BYTES)


def rows_bytes(data: int, *, tokenised: bool) -> int:
    """Return what reading so many bytes of training data leaves for the time of the stage, or tokenised in the run."""
    return round((ROWS_BYTES + (PREPARED_BYTES if tokenised else 0)) * data)
