"""Child program: runs one kernel of a tool on one device, compares it with plain torch, and prints what it measured.

`kernel NAME [DEVICE]`; NAME is `bitsandbytes`, `triton`, `varlen` or `gemm`, DEVICE is as torch names it (`cuda:0`).
"""

from __future__ import annotations

import inspect
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from alphaf_orch.programs.common import TOOL, Failure, program

# Ours: bfloat16 keeps 8 bits, and a gradient through a softmax some less; a mistaken kernel is off by tens of percent.
TOLERANCE = 0.05
GEMM_SIZE = 8192  # ours: wide enough that an H100 is busy with arithmetic (798 TFLOP/s were measured with it)
GEMM_TIMES = 50
GEMM_WARM = 10  # products before the clock starts: a card that was idle raises its own
SEQUENCES = (5, 128, 64, 187)  # of a packed row; odd lengths, because that is what kernels get wrong
HEADS, HEAD_DIM = 8, 128  # 128 is what EEVE, Qwen and Orion have


def bitsandbytes(torch: Any, device: str) -> dict[str, Any]:
    """Quantise a layer to NF4 and multiply by it, as QLoRA does; raise Failure where the values are not NF4's."""
    from importlib.metadata import version

    from alphaf_orch.programs.training.nf4_check import TOLERANCE as NF4_TOLERANCE
    from alphaf_orch.programs.training.nf4_check import errors

    worst = max(errors(256, 1024, device, torch.bfloat16))
    _require(worst, NF4_TOLERANCE, "bitsandbytes' 4-bit layer")
    return {"error": worst, "bitsandbytes": version("bitsandbytes")}


def triton(torch: Any, device: str) -> dict[str, Any]:
    """Compile one small Triton kernel anew and run it; its compiler is part of what is asked."""
    import triton as tool

    from alphaf_orch.programs.doctor.triton_kernel import gated

    gate, up = (torch.randn(5000, device=device, dtype=torch.float32) for _ in range(2))
    found = gated(gate, up)
    worst = _distance(found, torch.nn.functional.silu(gate) * up)
    _require(worst, TOLERANCE, "a Triton kernel")
    return {"error": worst, "triton": tool.__version__}


def varlen(torch: Any, device: str) -> dict[str, Any]:
    """Run torch's attention over packed sequences, called as axolotl calls it, forward and backward."""
    from torch.nn.attention.varlen import varlen_attn

    total = sum(SEQUENCES)
    shape = (total, HEADS, HEAD_DIM)
    query, key, value = (torch.randn(shape, device=device, dtype=torch.bfloat16).requires_grad_() for _ in range(3))
    ends = torch.tensor((0, *SEQUENCES), device=device, dtype=torch.int32).cumsum(0).to(torch.int32)
    # Which of the two says "causal" depends on torch's version (axolotl/monkeypatch/attention/sdpa_varlen.py).
    windowed = "window_size" in inspect.signature(varlen_attn).parameters
    causal: dict[str, Any] = {"window_size": (-1, 0)} if windowed else {"is_causal": True}
    found = varlen_attn(query, key, value, ends, ends, max(SEQUENCES), max(SEQUENCES), **causal)
    found.float().square().sum().backward()
    wanted, gradient = _attention_by_hand(torch, query, key, value)
    worst = max(_distance(found, wanted), _distance(query.grad, gradient))
    _require(worst, TOLERANCE, "torch's varlen_attn")
    return {"error": worst, "sequences": len(SEQUENCES)}


def _attention_by_hand(torch: Any, *packed: Any) -> tuple[Any, Any]:
    """Return causal attention of each sequence by itself in float32, and the gradient of the query."""
    query, key, value = (tensor.detach().float().requires_grad_() for tensor in packed)
    rows = []
    for q, k, v in zip(*(tensor.split(SEQUENCES) for tensor in (query, key, value)), strict=True):
        q, k, v = (tensor.transpose(0, 1) for tensor in (q, k, v))
        scores = q @ k.transpose(1, 2) / HEAD_DIM**0.5
        hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
        rows.append((scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(0, 1))
    found = torch.cat(rows)
    found.square().sum().backward()
    return found.detach(), query.grad


def gemm(torch: Any, device: str, size: int = GEMM_SIZE, times: int = GEMM_TIMES) -> dict[str, Any]:
    """Multiply bfloat16 matrices and return how fast, in TFLOP/s (2 n^3 operations each)."""
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = one @ other
    rows = slice(0, 16)
    worst = _distance(product[rows], one[rows].float() @ other.float())
    _require(worst, TOLERANCE, "a bfloat16 matrix product")
    for _ in range(GEMM_WARM):
        torch.mm(one, other, out=product)
    _settle(torch, device)
    begun = time.perf_counter()
    for _ in range(times):
        torch.mm(one, other, out=product)
    _settle(torch, device)
    seconds = time.perf_counter() - begun
    return {"tflops": 2 * size**3 * times / seconds / 1e12, "size": size, "error": worst}


def _settle(torch: Any, device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _distance(found: Any, wanted: Any) -> float:
    """Return how far apart two tensors are, as a share of the second one's size."""
    return float((found.detach().float() - wanted.detach().float()).norm() / wanted.detach().float().norm())


def _require(error: float, limit: float, what: str) -> None:
    if not error <= limit:  # also for a value that is no number
        raise Failure(
            TOOL,
            f"{what} computes wrong values here (off by {error:.1%}, at most {limit:.1%} is rounding)",
            where="compared with plain torch in float32",
            fix="install the versions of requirements/gpu.lock; if they are, the card or its driver is at fault",
            code="tool.wrong_result",
        )


KERNELS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "bitsandbytes": bitsandbytes,
    "triton": triton,
    "varlen": varlen,
    "gemm": gemm,
}


def main(argv: list[str]) -> None:
    """Print what the kernel of that name measured; raises what the tool raises, or Failure for wrong values."""
    import os

    name, device = argv[0], argv[1] if len(argv) > 1 else "cuda:0"
    with tempfile.TemporaryDirectory(prefix="alphaf-doctor-") as scratch:
        # What was compiled before says nothing of the compiler that is there now.
        os.environ["TRITON_CACHE_DIR"] = scratch
        import torch

        if device.startswith("cuda"):
            torch.cuda.set_device(device)
        torch.manual_seed(0)
        print(json.dumps({"kernel": name, "device": device, **KERNELS[name](torch, device)}), flush=True)


if __name__ == "__main__":
    program(main)
    sys.exit(0)
