"""The memory one GPU needs at its peak, by part; on a CPU what the training process holds resident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from alphaf_orch.estimates import activations
from alphaf_orch.estimates.shapes import Setup, Shape, shape_of
from alphaf_orch.estimates.sharing import Held, accumulates, held
from alphaf_orch.estimates.trained import (
    Section,
    adapter_parameters,
    compute_width,
    fused,
    is_full,
    is_paged,
    unsloth,
)

__all__ = ["Memory", "Setup", "Shape", "peak_memory", "phases", "shape_of"]

# Beside what torch allocates. Its context on an H100 with CUDA 13 [unmeasured here: 0.5 to 0.6 GB is what is reported];
# what its allocator reserves beyond: 1.72 GB at 8.36 GB and 2.20 GB at 25.64 GB (docs/gpu-verification.json).
CONTEXT = 600_000_000
FRAGMENTS = 1_480_000_000
FRAGMENTS_SHARE = 0.028
NCCL = 400_000_000  # a communicator's own buffers on each card: ours, not measured
# A training process on a CPU with a model of nothing, torch, transformers and axolotl or trl imported: what tiny's
# peaks of 826 and 810 MiB (SFT) and 776 MiB (DPO) leave when its own bytes are taken off (docs/estimate.md).
PROCESS: Mapping[Section, int] = {"sft": 840_000_000, "dpo": 770_000_000}
# What malloc holds beside the tensors that live, as a share of activations and logits: measured with smollm2, adapter
# and full 0.38 to 0.48, quantised 0.7 to 1, as each layer's weights are unpacked between what is kept.
HEAP = 0.45
HEAP_QUANTISED = 0.8


@dataclass(frozen=True)
class Memory:
    """Bytes by part at the moment of the peak; they add up to `total`; without `unseen` it is what runs record."""

    weights: int = 0
    adapter: int = 0  # what is trained beside frozen weights: LoRA, whole modules, ZeRO's 16-bit copies
    gradients: int = 0
    optimizer: int = 0  # moments, ZeRO's master weights, what a step needs
    activations: int = 0
    logits: int = 0  # and what the loss makes of them
    reference: int = 0  # of DPO: the reference pass, where the peak is in it
    buffers: int = 0  # of communication: DDP's buckets, layers gathered, gradients on their way; autocast's copies
    overhead: int = 0  # on a GPU context and fragmentation, on a CPU the process itself
    unseen: int = 0  # of these, what `peak_memory_mib` leaves out: on a GPU the overhead and paged moments

    @property
    def total(self) -> int:
        """What must be free on the card, or in the machine's memory."""
        return sum(getattr(self, part.name) for part in fields(self) if part.name != "unseen")

    @property
    def recorded(self) -> int:
        """What a run's metrics would call peak_memory_mib, in bytes: allocated by torch on a GPU, else resident."""
        return self.total - self.unseen


def peak_memory(
    shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section = "sft", longest_row: int = 0
) -> Memory:
    """Return the peak of one process that trains an axolotl recipe, or our DPO recipe.

    `longest_row` is the longest row in tokens where it is known, of pairs the longer side; 0 takes sequence_len.
    """
    return max(phases(shape, recipe, setup, section, longest_row).values(), key=lambda memory: memory.total)


def phases(
    shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section, longest_row: int = 0
) -> dict[str, Memory]:
    """Return what is held at each moment that can be the peak of a step, the first one's apart.

    Forward: no gradient but those that wait. Loss: the way back begins at the logits. Last layer: they are gone, one
    is computed again where checkpointing is on. First layer: all gradients are there, no other layer's input. Step: the
    optimizer's. DPO's reference passes while the policy's activations wait.
    """
    gpu = setup.gpus > 0
    kept, width = held(shape, recipe, setup, section), compute_width(recipe, gpu=gpu)
    count = activations.tokens(recipe, section, longest_row)
    batch = activations.kept_bytes(shape, recipe, section, count, gpu=gpu)
    head = activations.head_bytes(shape, count, width)
    layer = activations.recomputed_bytes(shape, recipe, section, count, gpu=gpu)
    waiting = accumulates(recipe)
    cast = _autocast_copies(shape, recipe, section, setup, width)
    vocabulary = count * shape.vocab_size

    def at(
        gradients: bool, activation: int, logits: int = 0, reference: int = 0, more: int = 0, step: int = 0
    ) -> Memory:
        return _memory(kept, recipe, setup, section, gradients, activation, logits, reference, more, step)

    if section == "dpo":
        passing = vocabulary * activations.PREFERENCE_REFERENCE + activations.passed_bytes(shape, count, width)
        found = {
            "reference": at(waiting, batch + head, vocabulary * activations.PREFERENCE_KEPT, passing, cast),
            "loss": at(waiting, batch + head, vocabulary * activations.PREFERENCE),
        }
        if recipe.get("precompute_ref_log_probs"):
            del found["reference"]
    else:
        forward, back = (activations.logits_bytes(shape, recipe, count, width, forward=way) for way in (True, False))
        found = {
            "forward": at(waiting, batch + head, forward, more=cast),
            "loss": at(waiting, batch + head, back),
        }
    return {
        **found,
        "last_layer": at(waiting, batch + layer, more=kept.moving),
        "first_layer": at(True, batch // shape.layers + layer, more=kept.moving),
        "step": at(True, 0, step=kept.step),
    }


def _autocast_copies(shape: Shape, recipe: Mapping[str, Any], section: Section, setup: Setup, width: int) -> int:
    """Return what autocast keeps of float32 LoRA weights in 16 bits until the forward pass ends.

    axolotl's kernels and unsloth cast for themselves (axolotl/kernels/lora.py); torch caches casts of leaves that need
    gradients (aten/src/ATen/autocast_mode.cpp, cached_cast).
    """
    itself = fused(recipe) or unsloth(recipe, gpu=setup.gpus > 0)
    if width == 4 or itself or is_full(recipe, section) or setup.engine != "ddp":
        return 0
    return adapter_parameters(shape, recipe) * width


def _memory(
    kept: Held,
    recipe: Mapping[str, Any],
    setup: Setup,
    section: Section,
    gradients: bool,
    activation: int,
    logits: int,
    reference: int,
    more: int,
    step: int,
) -> Memory:
    """Return the parts of one moment with what comes beside torch's own."""
    parts = {
        "weights": kept.weights,
        "adapter": kept.adapter,
        "gradients": kept.gradients if gradients else 0,
        "optimizer": kept.optimizer + step,
        "activations": activation,
        "logits": logits,
        "reference": reference,
        "buffers": kept.buffers + more,
    }
    if not setup.gpus:
        share = HEAP_QUANTISED if recipe.get("load_in_4bit") else HEAP
        return Memory(**parts, overhead=PROCESS[section] + int((activation + logits + reference) * share))
    paged = kept.optimizer if is_paged(recipe) and setup.engine == "ddp" else 0
    allocated = sum(parts.values()) - paged
    overhead = (
        CONTEXT
        + FRAGMENTS
        + int(allocated * FRAGMENTS_SHARE)
        + (NCCL if setup.world > 1 or setup.engine != "ddp" else 0)
    )
    return Memory(**parts, overhead=overhead, unseen=overhead + paged)
