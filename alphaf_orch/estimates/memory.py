"""The memory one GPU needs at its peak, by part; on a CPU what the process holds resident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from alphaf_orch.estimates.shapes import Setup, Shape, shape_of

__all__ = ["Memory", "Setup", "Shape", "dpo_memory", "sft_memory", "shape_of"]


@dataclass(frozen=True)
class Memory:
    """Bytes by part at the moment of the peak; they add up to `total`."""

    weights: int = 0
    adapter: int = 0  # what is trained beside frozen weights: LoRA, whole modules; its fp32 copy
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0  # and the cross entropy's copies of them
    reference: int = 0  # of DPO: what its reference pass needs beside the rest
    buffers: int = 0  # of communication: DDP's buckets, gathered layers, reduced gradients
    overhead: int = 0  # on a GPU context and fragmentation, on a CPU the process itself

    @property
    def total(self) -> int:
        """What must be free."""
        return sum(getattr(self, part.name) for part in fields(self))


def sft_memory(shape: Shape, recipe: Mapping[str, Any], setup: Setup, longest_row: int = 0) -> Memory:
    """Return the peak of one process that trains an axolotl recipe.

    `longest_row` is the longest row in tokens where it is known; 0 takes sequence_len.
    """
    raise NotImplementedError


def dpo_memory(shape: Shape, recipe: Mapping[str, Any], setup: Setup, longest_row: int = 0) -> Memory:
    """Return the peak of one process that trains our DPO recipe.

    `longest_row` is the longer side of the longest pair in tokens where it is known; 0 takes sequence_len.
    """
    raise NotImplementedError
