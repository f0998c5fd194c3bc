"""Whether a recipe fits a card, the largest micro batch that does, and the engine that a recipe needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alphaf_orch.estimates.memory import Setup, Shape

Section = Literal["sft", "dpo"]


@dataclass(frozen=True)
class Choice:
    """An engine and why, in one plain line with the figures; engine "" where nothing fits."""

    engine: str
    reason: str


def fits(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section = "sft") -> bool:
    """Return whether the peak, headroom included, is below the card's memory; on a CPU, or a card unknown (0), true."""
    raise NotImplementedError


def largest_micro_batch_size(shape: Shape, recipe: Mapping[str, Any], setup: Setup, section: Section = "sft") -> int:
    """Return the largest micro_batch_size that fits and divides the rank's share of the global batch; 0 for none."""
    raise NotImplementedError


def engine_for(shape: Shape, recipe: Mapping[str, Any], setup: Setup) -> Choice:
    """Return the engine of an SFT recipe that asks for none, with its reason; setup's own engine is not read."""
    raise NotImplementedError
