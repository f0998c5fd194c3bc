"""The line that a finished stage is told with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaf_orch.planning.stages import Stage


def done_line(stage: Stage, entry: Mapping[str, Any]) -> str:
    """Return how long a stage took and what its record holds that a person wants to see at once."""
    result = entry["result"]
    parts = [f"{stage.name}: done in {entry['seconds']:.0f} s"]
    if "loss_first" in result:
        parts.append(f"{result['steps']} steps, loss {result['loss_first']:.3f} → {result['loss_last']:.3f}")
    if "contract" in result:
        parts.append(f"hand-off contract holds ({len(result['contract'])} lines)")
    if "longer_than_sequence_len" in result:
        longer = result["longer_than_sequence_len"]
        count, number = result["rows"], result["sequence_len"]  # the names by which they are known to be numbers
        parts.append(
            f"{count:,} rows, {result['turns']:,} turns, {result['tokens']['total']:,} tokens"
            f" (longest {result['tokens']['max']:,}), {longer['share']:.1%} longer than sequence_len {number:,}"
        )
        if result.get("masked_turns"):
            parts.append(f"{result['masked_turns']:,} assistant turns masked")
        if result.get("pairs_equal_after_cut"):
            parts.append(f"{result['pairs_equal_after_cut']:,} pairs equal once cut: they teach nothing")
        if result.get("unused_keys"):
            parts.append("not used: " + ", ".join(f"{key} ({n:,} rows)" for key, n in result["unused_keys"].items()))
    if "backend" in result:
        parts.append(f"backend {result['backend']}")
    return "; ".join(parts)
