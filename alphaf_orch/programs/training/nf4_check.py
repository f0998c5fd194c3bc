"""Asks bitsandbytes, before any weight is loaded, whether its NF4 layers of a model's shapes hold the right values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from alphaf_orch.programs.common import TOOL, Failure

# The 16 values of NF4 (QLoRA paper, arXiv 2305.14314, appendix E), one of them for each 4-bit number.
CODE = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
BLOCK = 64  # weights that share one absolute maximum
ROWS = 256  # ours: enough for the second quantisation, of 256 maxima at once, and small for the widest model
# Ours: the second quantisation and bfloat16 are within 0.005 of the definition, mistaken blocks 0.17 and more away.
TOLERANCE = 0.05


def linear_shapes(model: str, revision: str | None, *, trust_remote_code: bool) -> set[tuple[int, int]]:
    """Return (out_features, in_features) of the layers that are quantised: every linear one but the output's."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    with init_empty_weights():
        empty = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    head = empty.get_output_embeddings()
    linear = (m for m in empty.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return {(module.out_features, module.in_features) for module in linear}


def definition(weight: Any) -> Any:
    """Return what NF4 makes of a float32 weight: per block of 64 the nearest code values times its maximum."""
    import torch

    code = torch.tensor(CODE, device=weight.device)
    blocks = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = torch.bucketize(blocks / largest, (code[1:] + code[:-1]) / 2)
    return (code[nearest] * largest).flatten()[: weight.numel()].view_as(weight)


def errors(outputs: int, inputs: int, device: str, dtype: Any) -> Iterator[float]:
    """Yield how far a layer of that shape is from NF4's definition, as a share of the values' size.

    First its weights as they are read back, then its forward pass in training mode, which has kernels of its own.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit, Params4bit

    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(min(outputs, ROWS), inputs, generator=draw).to(device, dtype)
    wanted = definition(weight.float())
    layer = Linear4bit(inputs, len(weight), bias=False, compute_dtype=dtype, compress_statistics=True, quant_type="nf4")
    layer.weight = Params4bit(weight.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True)
    layer = layer.to(device).train()
    yield _distance(dequantize_4bit(layer.weight.data, layer.weight.quant_state), wanted)
    states = torch.randn(8, inputs, generator=draw).to(device, dtype).requires_grad_()
    yield _distance(layer(states).detach(), states.detach().float() @ wanted.T)


def _distance(found: Any, wanted: Any) -> float:
    return float((found.float() - wanted).norm() / wanted.norm())


def check_nf4(shapes: Iterable[tuple[int, int]], dtype: Any, *, fix: str) -> None:
    """Raise Failure where bitsandbytes, on the device that will train, makes other values of a shape than NF4 has."""
    import torch

    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    wrong = {(o, i): worst for o, i in sorted(shapes) if (worst := max(errors(o, i, device, dtype))) > TOLERANCE}
    if not wrong:
        return
    from importlib.metadata import version

    named = ", ".join(f"{o} x {i} (off by {error:.0%})" for (o, i), error in wrong.items())
    what = (
        f"bitsandbytes {version('bitsandbytes')} on this {device.partition(':')[0]} computes wrong 4-bit values for"
        f" linear layers of {named}: training would run on another model than the one that is merged"
    )
    where = "out x in features; on a CPU in_features that 16 divides and 64 does not are affected"
    raise Failure(TOOL, what, where=where, fix=fix, code="tool.wrong_result")
