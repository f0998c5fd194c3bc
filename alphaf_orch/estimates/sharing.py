"""How an engine shares out what is kept between batches: weights, trained parameters, gradients, moments, buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alphaf_orch.estimates.shapes import Setup, Shape
from alphaf_orch.estimates.trained import (
    Group,
    Section,
    compute_width,
    embedding_parameters,
    fused,
    is_full,
    layer_parameters,
    linear_width,
    state_bytes,
    trained_groups,
    weight_bytes,
)

MASTER = 4  # the float32 weight that DeepSpeed steps beside its 16-bit copy; FSDP2 shards it (master_weights.py)
# DeepSpeed gathers at most as many parameters at a time (stage3_max_live_parameters, runtime/zero/config.py).
MAX_LIVE = 1_000_000_000
SUB_GROUP = 1_000_000_000  # what one step of ZeRO-3 casts its gradients of at a time (sub_group_size, the same file)


@dataclass(frozen=True)
class Held:
    """Bytes that one process keeps through all batches.

    `moving` comes to them on the way back through the layers, `step` while the optimizer steps.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    buffers: int
    moving: int = 0
    step: int = 0


def held(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section) -> Held:
    """Return what one process of the setup's engine keeps; an engine without GPUs shares nothing."""
    gpu = setup.gpus > 0
    groups = trained_groups(shape, recipe, section, gpu=gpu)
    engine = setup.engine if gpu else "ddp"
    if engine in ("fsdp2", "hsdp"):
        return _fsdp(shape, recipe, setup, section, groups)
    if engine in ("zero2", "zero3"):
        return _zero(shape, recipe, setup, section, groups)
    return _ddp(shape, recipe, setup, section, groups)


def _ddp(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section, groups: tuple[Group, ...]) -> Held:
    """Everything whole; several processes copy gradients into buckets as large (DDP, gradient_as_bucket_view False)."""
    width, full = compute_width(recipe, gpu=setup.gpus > 0), is_full(recipe, section)
    trained = sum(group.count * group.width for group in groups)
    # On a card torch's AdamW holds temporaries as large as what it steps, fused none (torch.optim.AdamW, foreach).
    foreach = setup.gpus > 0 and recipe.get("optimizer") in (None, "adamw_torch", "adamw_hf")
    return Held(
        weights=trained if full else weight_bytes(shape, recipe, width, full=False),
        adapter=0 if full else trained,
        gradients=trained,
        optimizer=int(sum(group.count * group.states for group in groups)),
        buffers=trained if setup.world > 1 else 0,
        step=trained if foreach else 0,
    )


def _fsdp(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section, groups: tuple[Group, ...]) -> Held:
    """Everything in shards; the engine's layer makes float32 what `full` trains (programs/training/master_weights.py).

    Whole are the root's weights (embedding, head) and two layers, the one computed and the one fetched, with their
    gradients; and all gradients where accumulation does not reduce each batch (accelerate/accelerator.py:1164).
    """
    ranks = setup.gpus if setup.engine == "hsdp" else setup.world
    width, full = compute_width(recipe, gpu=True), is_full(recipe, section)
    trained = sum(group.count for group in groups)
    frozen = 0 if full else weight_bytes(shape, recipe, width, full=False)
    root = embedding_parameters(shape) * width
    two = min(2, shape.layers) * int(layer_parameters(shape) * linear_width(recipe, width, full=full))
    of_two = min(2, shape.layers) * trained // shape.layers * width
    # axolotl's kernels gather adapters and leave them (axolotl/kernels/lora.py:84-92).
    adapters = 0 if full else trained * width if fused(recipe) else of_two
    moving = two + root if full else of_two  # gradients on the way to be shared out
    whole = trained * width if accumulates(recipe) and not reduces_each(recipe) else 0
    if full:
        groups = (Group(trained, MASTER, state_bytes(str(recipe.get("optimizer") or ""), MASTER)),)
    stepped = sum(group.count * group.width for group in groups)
    if setup.offload:
        return Held(0, 0, 0, 0, root + two + adapters + whole, moving)
    return Held(
        weights=(stepped if full else frozen) // ranks,
        adapter=0 if full else stepped // ranks,
        gradients=stepped // ranks,
        optimizer=int(sum(group.count * group.states for group in groups) / ranks),
        buffers=root + two + adapters + whole,
        moving=moving,
    )


def _zero(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section, groups: tuple[Group, ...]) -> Held:
    """ZeRO-2 shares out master weights, moments and gradients, ZeRO-3 the weights as well (arXiv 1910.02054, figure 1).

    16-bit weights and gradients, float32 master and moments; a step casts the shard's gradients to float32.
    """
    width, full, ranks = compute_width(recipe, gpu=True), is_full(recipe, section), setup.world
    trained = sum(group.count for group in groups)
    frozen = 0 if full else weight_bytes(shape, recipe, width, full=False)
    bucket = 2 * shape.hidden_size**2 * width  # reduce_bucket_size `auto` (transformers/integrations/deepspeed.py:229)
    third = setup.engine == "zero3"
    share = ranks if third else 1
    live = min(MAX_LIVE * width, trained * width if full else frozen) if third else 0
    away = 0 if setup.offload else 1
    weights_away = 0 if setup.offload and third else 1
    master = int(trained * MASTER / ranks) * away
    states = int(trained * state_bytes(str(recipe.get("optimizer") or ""), MASTER) / ranks) * away
    return Held(
        weights=(trained * width if full else frozen) // share * weights_away,
        adapter=0 if full else trained * width // share * weights_away,
        gradients=trained * width // ranks * away,
        optimizer=master + states,
        buffers=bucket + live,
        step=min(trained // ranks, SUB_GROUP if third else trained) * MASTER * away,
    )


def accumulates(recipe: Mapping[str, Any]) -> bool:
    """Return whether gradients of one micro batch wait for those of the next."""
    return int(recipe.get("gradient_accumulation_steps") or 1) > 1


def reduces_each(recipe: Mapping[str, Any]) -> bool:
    """Return whether each micro batch's gradients are shared out at once (accelerate's sync_each_batch)."""
    given = (recipe.get("accelerator_config") or {}).get("gradient_accumulation_kwargs") or {}
    return bool(given.get("sync_each_batch"))
