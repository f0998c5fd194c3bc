"""Packed rows must not see each other: asked of the model itself, for each way in which sdpa gets its mask."""

import types

import pytest
import tiny
import torch

from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.training.packing_check import LEAK, RowsApart, leakage

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]
PACKED = types.SimpleNamespace(sample_packing=True)


def model_of(kind: str, dtype: torch.dtype) -> torch.nn.Module:
    sizes = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    if kind == "llama":
        return tiny.llama(320).to(dtype)
    if kind == "qwen2":
        from transformers import Qwen2Config, Qwen2ForCausalLM

        return Qwen2ForCausalLM(Qwen2Config(**sizes)).to(dtype)
    from alphaf_orch.programs.architectures.orion_config import OrionConfig
    from alphaf_orch.programs.architectures.orion_model import OrionForCausalLM

    return OrionForCausalLM(OrionConfig(**sizes)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "orion"])
def test_the_article_s_architectures_keep_packed_rows_apart(kind, dtype):
    """First with transformers' mask, then with what axolotl puts in its place where the varlen kernel is."""
    from axolotl.monkeypatch.attention.sdpa_varlen import patch_sdpa_varlen, unpatch_sdpa_varlen

    model = model_of(kind, dtype).train()
    model.set_attn_implementation("sdpa")
    assert leakage(model) < LEAK / 10
    assert patch_sdpa_varlen()
    try:
        assert leakage(model) < LEAK / 10
    finally:
        unpatch_sdpa_varlen()
    assert model.training


def test_a_model_that_knows_no_borders_is_refused_where_rows_are_packed(capsys):
    model = model_of("llama", torch.float32)
    forward = model.forward
    model.forward = lambda input_ids, use_cache, **_: forward(input_ids=input_ids, use_cache=use_cache)
    assert leakage(model) > 0.5
    RowsApart().on_train_begin(types.SimpleNamespace(sample_packing=False), None, None, model=model)
    with pytest.raises(Failure) as caught:
        RowsApart().on_train_begin(PACKED, None, None, model=model)
    assert caught.value.code == 4
    assert "LlamaForCausalLM mixes packed rows" in capsys.readouterr().err
    assert caught.value.message.endswith("next:  --set sft.sample_packing=false")
