"""One small Triton kernel, of the kind that axolotl's fused MLP has; in a file, for Triton reads its source."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

BLOCK = 1024


@triton.jit  # type: ignore[untyped-decorator]
def _silu_times(gate, up, out, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    first = tl.load(gate + place, mask=inside, other=0.0)
    second = tl.load(up + place, mask=inside, other=0.0)
    tl.store(out + place, first / (1.0 + tl.exp(-first)) * second, mask=inside)


def gated(gate: Any, up: Any) -> Any:
    """Return silu(gate) * up of two float32 vectors of one length."""
    out = gate.new_empty(gate.shape)
    _silu_times[(triton.cdiv(gate.numel(), BLOCK),)](gate, up, out, gate.numel(), BLOCK=BLOCK)
    return out
