"""Rows of an evaluation as long as they are: axolotl pads them like packed ones, to sequence_len."""

from __future__ import annotations

from typing import Any

MULTIPLE = 64  # axolotl's own, where a recipe leaves padding open (axolotl/core/builders/causal.py:393)


def pad_evaluation_to_its_rows(cfg: Any, trainer: Any) -> None:
    """Have unpacked rows of an evaluation padded to the longest of their batch, up to a multiple of 64 tokens.

    axolotl has one key for both collators (causal.py:387), and packed training needs it. What is padded has no label
    and is seen by no token: the loss is the same. Rows of 500 tokens cost an eighth of what they cost at 4,096.
    """
    collator = trainer.eval_data_collator
    packed = trainer.args.eval_sample_packing
    if cfg.get("pad_to_sequence_len") and not packed and getattr(collator, "pad_to_multiple_of", None):
        collator.pad_to_multiple_of = min(MULTIPLE, collator.pad_to_multiple_of)
