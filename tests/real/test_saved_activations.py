"""What a layer saves for the way back, counted by torch itself and by the estimate."""

from __future__ import annotations

import pytest

from alphaf_orch.estimates.activations import saved_per_token
from alphaf_orch.estimates.shapes import Shape

TOKENS = 200
SHAPE = Shape(1, 256, 896, 8, 2, 32, 64, tie_word_embeddings=False, parameters=1)


def saved(width: int, recipe: dict) -> float:
    """Return the bytes a token that one Llama layer keeps, weights and its own input apart."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    dtype = torch.bfloat16 if width == 2 else torch.float32
    sizes = {"hidden_size": 256, "intermediate_size": 896, "num_attention_heads": 8, "num_key_value_heads": 2}
    config = LlamaConfig(**sizes, num_hidden_layers=1, vocab_size=64, attn_implementation="sdpa")
    model = LlamaForCausalLM(config).to(dtype)
    inner = model.model
    if recipe["adapter"]:
        keys = {"r": recipe["lora_r"], "lora_dropout": recipe["lora_dropout"]}
        model = get_peft_model(model, LoraConfig(**keys, target_modules="all-linear"))
    model.train()
    given = torch.randn(1, TOKENS, 256, dtype=dtype, requires_grad=True)
    rotary = inner.rotary_emb(given, torch.arange(TOKENS)[None])
    others = {tensor.untyped_storage().data_ptr() for tensor in (given, *rotary, *model.parameters())}
    weights = {tuple(shape) for p in model.parameters() for shape in (p.shape, p.shape[::-1])}  # as autocast casts them
    kept, found = [], {}

    def keep(tensor):
        kept.append(tensor)  # else its storage would be given to another
        if tuple(tensor.shape) not in weights and tensor.untyped_storage().data_ptr() not in others:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=width == 2):
        inner.layers[0](given, position_embeddings=rotary)
    return sum(found.values()) / TOKENS


@pytest.mark.real
@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize(
    "recipe",
    [{"adapter": "lora", "lora_dropout": 0.05}, {"adapter": "lora", "lora_dropout": 0.0}, {"adapter": None}],
    ids=["dropout", "lora", "full"],
)
def test_torch_counts_what_the_estimate_says(width, recipe):
    given = {**recipe, "lora_r": 16 if recipe["adapter"] else 0, "bf16": width == 2}
    # Left out of the formula: attention's log-sum and the norms' scales, some bytes for each head and row.
    assert saved_per_token(SHAPE, given, "sft", gpu=False) == pytest.approx(saved(width, given), rel=0.01)
