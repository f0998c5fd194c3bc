"""Whether a recipe fits a card, the largest micro batch that does, and the engine that a recipe needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from alphaf_orch.core.disk import size, sizes
from alphaf_orch.estimates.memory import Setup, Shape, peak_memory
from alphaf_orch.estimates.trained import Section, is_full

MOST = 1024  # micro_batch_size beyond it is not looked at


@dataclass(frozen=True)
class Choice:
    """An engine and why, in one plain line with the figures; engine "" where nothing fits."""

    engine: str
    reason: str


def fits(
    shape: Shape,
    recipe: Mapping[str, Any],
    setup: Setup,
    section: Section = "sft",
    longest_row: int = 0,
    missed: float = 0.0,
) -> bool:
    """Return whether the peak, overhead included, is below the card's memory; on a CPU, or a card unknown (0), true.

    `missed` is what a measurement says that the formula misses, in bytes.
    """
    if not setup.gpus or not setup.gpu_memory:
        return True
    return peak_memory(shape, recipe, setup, section, longest_row).total + missed <= setup.gpu_memory


def largest_micro_batch_size(
    shape: Shape,
    recipe: Mapping[str, Any],
    setup: Setup,
    section: Section = "sft",
    longest_row: int = 0,
    missed: float = 0.0,
) -> int:
    """Return the largest micro_batch_size that fits and cuts up one rank's share of the global batch; 0 for none.

    The share is micro_batch_size * gradient_accumulation_steps, so that the global batch stays as it is.
    """
    share = int(recipe["micro_batch_size"]) * int(recipe.get("gradient_accumulation_steps") or 1)
    for micro in (each for each in range(min(share, MOST), 0, -1) if share % each == 0):
        cut = {**recipe, "micro_batch_size": micro, "gradient_accumulation_steps": share // micro}
        if fits(shape, cut, setup, section, longest_row, missed):
            return micro
    return 0


def engine_for(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section = "sft") -> Choice:
    """Return the engine of a recipe that asks for none, with its reason; setup's own engine is not read.

    Adapters that fit are trained under DDP. Full fine-tuning is sharded, as float32 weights ask for: by FSDP2 within a
    node, over several by HSDP, which shards within each and copies across (axolotl docs/nd_parallelism.qmd).
    """
    if not setup.gpus:
        return Choice("ddp", "trained on the CPU, in one process")
    full, there = is_full(recipe, section), setup.gpu_memory
    if full:
        recipe = {"fp32_master_weights": True, **recipe}  # as every engine trains it (templates/engines/)
    whole = peak_memory(shape, recipe, replace(setup, engine="ddp"), section).total
    parameters = _count(shape.parameters)
    what = f"full fine-tuning of {parameters}" if full else f"the adapter on {parameters}"
    enough = not there or whole <= there
    needed, room = sizes(whole, there)
    if enough and (setup.world == 1 or not full):
        amount = f"{needed} of {room}" if there else needed
        if setup.world == 1:
            return Choice("ddp", f"one GPU: {what} needs {amount}")
        of = f" of {room}" if there else ""
        return Choice("ddp", f"{what} needs {needed} on each of {_ranks(setup)}{of}: no sharding")
    needs = f"{what} needs {needed} a GPU unsharded"
    if there:
        needs = f"{what} needs {needed} a GPU unsharded, {room} are there"
    if setup.world == 1:
        least = _what_would_fit(shape, recipe, replace(setup, engine="ddp"), section)
        return Choice("", needs + (least or "; one GPU has nothing to share with"))
    sharded = _sharded(shape, recipe, setup, section, full=full)
    engine, peak = next((pair for pair in sharded if not there or pair[1] <= there), ("", 0))
    if engine:
        over = f"{setup.gpus} GPUs of each node" if engine == "hsdp" else _ranks(setup)
        return Choice(engine, f"{needs}; sharded over {over} it needs {size(peak)}")
    engine, peak = min(sharded, key=lambda pair: pair[1])
    least = _what_would_fit(shape, _rendered(recipe), replace(setup, engine=engine), section)
    return Choice(
        "", f"{needs}; sharded over {_ranks(setup)} by {engine} it still needs {sizes(peak, there)[0]}{least}"
    )


def _what_would_fit(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section) -> str:
    """Return the micro_batch_size, or else the offload, with which an engine would do; "" for none."""
    micro = largest_micro_batch_size(shape, recipe, setup, section)
    if micro:
        return f"; micro_batch_size {micro} would fit"
    if setup.engine != "ddp" and not setup.offload and fits(shape, recipe, replace(setup, offload=True), section):
        return "; with engine_offload it would fit"
    return ""


def _rendered(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe as a sharding engine's layer leaves it: gradients are shared out after each micro batch."""
    each = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
    return {**recipe, "accelerator_config": {**(recipe.get("accelerator_config") or {}), **each}}


def _sharded(
    shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section, *, full: bool
) -> list[tuple[str, int]]:
    """Return the sharding engines in the order in which they are tried, each with its peak."""
    engines = ("hsdp", "fsdp2", "zero3") if full and setup.nodes > 1 and setup.gpus > 1 else ("fsdp2", "zero3")
    rendered = _rendered(recipe)
    return [(engine, peak_memory(shape, rendered, replace(setup, engine=engine), section).total) for engine in engines]


def _ranks(setup: Setup) -> str:
    """Return on what is trained: 1 GPU, 8 GPUs, 2 x 8 GPUs."""
    nodes = f"{setup.nodes} x " if setup.nodes > 1 else ""
    return f"{nodes}{setup.gpus} GPU{'s' if setup.world > 1 else ''}"


def _count(parameters: int) -> str:
    """Return a number of parameters as people say it: 10.8B, 135M."""
    return f"{parameters / 1e9:.1f}B" if parameters >= 10**9 else f"{parameters / 1e6:.0f}M"
