"""How fast a recipe trains, by formula: operations of a token, what a card or a CPU reaches, what else takes time.

Operations count a multiplication and an addition as two. Every figure has its source beside it; `measured here` is
docs/gpu-verification.md, `ours` is a guess that an interval must make up for. docs/estimate.md shows the formulas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alphaf_orch.estimates.ranges import Range
from alphaf_orch.estimates.shapes import Setup, Shape
from alphaf_orch.estimates.trained import adapter_parameters

Recipe = Mapping[str, Any]

# Dense bf16 TFLOP/s with fp32 sums and GB of memory, by a part of the name that NVML gives the card: the vendors' data
# sheets (H100 to L4: NVIDIA's; GeForce: appendix A of the Ada and Ampere whitepapers). The first that is in the name
# counts. No GB: the card comes in several sizes, and its name tells which. Of GDDR with ECC on, as data center cards
# have it, a sixteenth is gone: nvidia-smi shows 46,068 MiB of an L40S of 48 GB, 23,034 of an L4 of 24.
PEAKS: tuple[tuple[str, float, float | None], ...] = (
    ("B200", 2250.0, 180),
    ("H200", 989.4, 141),
    ("GH200 144G", 989.4, 144),
    ("GH200", 989.4, 96),  # the 480GB of its name are the processor's
    ("H100 PCIe", 756.0, 80),
    ("H100 NVL", 835.5, 94),
    ("H100", 989.4, None),
    ("A100", 312.0, None),
    ("L40S", 362.0, 45),
    ("L40", 181.0, 45),
    ("RTX 6000 Ada", 364.2, 48),
    ("A40", 149.7, 45),
    ("A10", 125.0, 22.5),
    ("A10G", 70.0, 22.5),
    ("L4", 121.0, 22.5),
    ("RTX 4090", 165.2, 24),
    ("RTX 3090", 71.0, 24),
)
ARTICLE_CARD = "NVIDIA H100 80GB HBM3"  # article: H100 SXM x 8
# Measured here: 5,180 tokens/s x 72 GFLOP (48 layers) and 29,153 x 12.8 (8 layers) are 373 TFLOP/s, 0.38 of 989.4.
# Published (NeMo AutoModel, bf16 LoRA without recomputation): Llama3-8B 12,473 tokens/s x 33 GFLOP, 0.42.
USED = Range(0.38, 0.30, 0.46)  # of the H100's peak
USED_ELSEWHERE = Range(0.38, 0.17, 0.50)  # ours: the same share, no card but an H100 was measured
# ours: without packing batches are small and padded; of preference pairs no speed was measured that says anything.
USED_UNPACKED = Range(0.25, 0.06, 0.42)
# What each GPU keeps of its speed beside others. NeMo AutoModel keeps 90 to 92 % from 8 to 16 H100; the rest is ours.
KEPT_ON_NODE = Range(0.95, 0.85, 1.0)
KEPT_ON_NODES = Range(0.91, 0.70, 0.95)
# ours: sharded weights are gathered for every layer, forward and backward; published for full fine-tuning is little.
KEPT_SHARDED = Range(0.90, 0.60, 1.0)
KEPT_OFFLOADED = Range(0.40, 0.10, 0.70)  # ours: the optimizer's step and its copies go over PCIe
SHARDED = ("fsdp2", "zero3", "hsdp")
# GFLOP/s of one core in float32, measured here on a busy AMD EPYC: smollm2 17 to 67, tiny 18; the rest is ours.
CORE_GFLOPS = Range(35.0, 5.0, 120.0)


def flops_per_token(shape: Shape, recipe: Recipe, length: float, *, preference: bool = False) -> float:
    """Return the operations of one trained token: forward, backward, recomputation, and DPO's reference pass.

    With N parameters in matrix products a forward is 2N, the gradients of activations 2N, those of weights 2N where
    they are trained (Kaplan et al. 2020, section 2.1); checkpointing adds a forward (Chen et al. 2016). Attention to
    `length` / 2 tokens in the mean adds 2 * length * heads * head_dim a layer, twice that backward.
    """
    dense = shape.parameters - (0 if shape.tie_word_embeddings else shape.vocab_size * shape.hidden_size)
    attention = 2.0 * length * shape.attention_heads * shape.head_dim * shape.layers
    added = adapter_parameters(shape, recipe)
    forward = 2.0 * (dense + added) + attention
    backward = 2.0 * dense + 4.0 * added + 2 * attention + (0 if added else 2.0 * dense)
    again = forward if recipe.get("gradient_checkpointing") else 0.0
    reference = 2.0 * dense + attention if preference else 0.0
    return forward + backward + again + reference


def peak_flops(card: str) -> float | None:
    """Return the card's dense bf16 operations per second, None for one that no data sheet was read of."""
    known = _data_sheet(card)
    return known[0] * 1e12 if known else None


def card_gigabytes(card: str) -> float | None:
    """Return the card's memory in GB as vendors count it: its data sheet's, else what its name says; None for neither.

    What CUDA can have of it is less where ECC takes its part.
    """
    known, named = _data_sheet(card), re.search(r"(\d+) ?GB\b", card)
    return (known[1] if known else None) or (float(named[1]) if named else None)


def _data_sheet(card: str) -> tuple[float, float | None] | None:
    if "Laptop" in card:  # the same name for less
        return None
    return next(((peak, size) for part, peak, size in PEAKS if re.search(rf"\b{part}\b", card)), None)


def reached(card: str, recipe: Recipe, cores: int) -> Range | None:
    """Return the operations per second of one GPU, of all `cores` for no card; None for an unknown card."""
    if not card:
        return CORE_GFLOPS.times(1e9 * cores)
    peak = peak_flops(card)
    if peak is None:
        return None
    if not recipe.get("sample_packing"):
        return USED_UNPACKED.times(peak)
    return (USED if peak == peak_flops(ARTICLE_CARD) else USED_ELSEWHERE).times(peak)


def kept_together(setup: Setup) -> Range:
    """Return which share of its own speed each GPU keeps beside the others of the setup."""
    kept = Range(1.0, 1.0, 1.0)
    if setup.world > 1:
        kept = KEPT_ON_NODES if setup.nodes > 1 else KEPT_ON_NODE
    if setup.engine in SHARDED and setup.world > 1:
        kept = kept.by(KEPT_SHARDED)
    return kept.by(KEPT_OFFLOADED) if setup.offload else kept


def start_seconds(shape: Shape, *, gpu: bool) -> Range:
    """Return what a training takes beside its steps: imports, weights read and quantised, the last files written.

    Measured here on an H100 machine: 57 s of 4.2 GB in bf16, 73 s of 21.6; on 2 cores 12 to 20 s, weights of MBs.
    """
    size = 2 * shape.parameters / 1e9
    return Range(53 + 0.9 * size, 20 + 0.4 * size, 120 + 6 * size) if gpu else Range(15 + 4 * size, 3, 30 + 12 * size)


def merge_seconds(shape: Shape, *, gpu: bool) -> Range:
    """Return what a merge with its contract takes. Measured here: 45 s of 4.2 GB, 132 and 146 of 21.6; 10 s of MBs."""
    size = 2 * shape.parameters / 1e9
    return Range(22 + 5.5 * size, 8 + 2 * size, 60 + 12 * size) if gpu else Range(10 + 6 * size, 3, 25 + 20 * size)


def reading_seconds(rows: int) -> Range:
    """Return what counting or tokenising rows takes: 13 and 24 s of 395 rows measured here, most of it imports.

    ours: a thousand rows a second, behind that.
    """
    return Range(15 + rows / 1000, 4 + rows / 5000, 40 + rows / 200)
