"""4-bit training on a CPU: gradients must pass through the frozen layers after an evaluation too."""

import pytest
import torch

from alphaf_orch.programs.training.cpu_quantization import KeepGradients

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def quantised(inputs: int, outputs: int) -> torch.nn.Module:
    """A frozen NF4 layer with double quantisation, made on the CPU as the trainers make theirs."""
    from bitsandbytes.nn import Linear4bit

    layer = Linear4bit(inputs, outputs, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    return layer.to("cpu")


def gradient(layer: torch.nn.Module) -> torch.Tensor:
    x = torch.ones(3, 128, requires_grad=True)
    layer.train()
    layer(x).sum().backward()
    assert x.grad is not None, "nothing below the layer learns"
    return x.grad


def test_an_evaluation_takes_no_gradient_away():
    torch.manual_seed(0)
    layer = quantised(128, 64)
    before = gradient(layer).clone()
    assert before.abs().sum() > 0
    KeepGradients().on_train_begin(None, None, None, model=torch.nn.Sequential(layer))
    layer.eval()
    with torch.no_grad():
        layer(torch.ones(3, 128))
    assert torch.equal(gradient(layer), before)
