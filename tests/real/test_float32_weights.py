"""What is trained beside a LoRA moves in float32 and hardly in bfloat16, whose model it stays for everybody else."""

import pytest
import torch

from alphaf_orch.programs.training.float32_weights import trained_in_float32

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
SIZES |= {"num_attention_heads": 2, "num_key_value_heads": 2}
IDS = torch.arange(64).reshape(2, 32)


def orion_with_rows():
    """Return Orion in bfloat16 as axolotl leaves it: a LoRA, and the rows of new tokens trained whole."""
    from peft import LoraConfig, get_peft_model

    from alphaf_orch.programs.architectures.orion_config import OrionConfig
    from alphaf_orch.programs.architectures.orion_model import OrionForCausalLM

    torch.manual_seed(0)
    model = OrionForCausalLM(OrionConfig(**SIZES)).to(torch.bfloat16)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["embed_tokens", "lm_head"])
    return get_peft_model(model, lora).train()


def rows(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad and "modules_to_save" in name}


def moved(model, *, autocast):
    """Return the share of the rows' weights that ten steps of AdamW at a tenth of the recipe's rate move."""
    before = {name: p.detach().clone() for name, p in rows(model).items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-5)
    for _ in range(10):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = torch.cat([(p.detach() != before[name]).flatten() for name, p in rows(model).items()])
    return float(changed.float().mean())


@pytest.mark.parametrize("autocast", [True, False])
def test_rows_trained_beside_an_adapter_move(autocast):
    narrow, wide = orion_with_rows(), orion_with_rows()
    # What PEFT and axolotl leave; where this fails, trained_in_float32 may go.
    assert {p.dtype for p in rows(narrow).values()} == {torch.bfloat16}
    trained_in_float32(wide)
    assert len(rows(wide)) == 2
    assert {p.dtype for p in wide.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in wide.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert moved(narrow, autocast=autocast) < 0.5
    assert moved(wide, autocast=autocast) > 0.99


def test_the_model_around_them_sees_what_it_saw():
    narrow, wide = orion_with_rows(), orion_with_rows()
    trained_in_float32(wide)
    seen = []
    for model in (narrow, wide):
        layer = model.get_base_model().model.layers[0]
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        with torch.autocast("cpu", torch.bfloat16):
            seen.append(model(input_ids=IDS).logits)
    assert [value.dtype for value in seen] == [torch.bfloat16] * 4
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])


def tied_llama(modules):
    """Return a Llama whose head is its embedding, with a LoRA, both trained whole."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)).to(torch.bfloat16)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=modules, ensure_weight_tying=True)
    return get_peft_model(model, lora).train()


@pytest.mark.parametrize("modules", [["embed_tokens", "lm_head"], ["embed_tokens"]])
@pytest.mark.parametrize("autocast", [True, False])
def test_a_weight_of_two_modules_is_seen_by_both(modules, autocast):
    """The first of them makes the weight they share float32; the second takes and gives bfloat16 as before."""
    narrow, wide = tied_llama(modules), tied_llama(modules)
    trained_in_float32(wide)
    assert {p.dtype for p in wide.parameters() if p.requires_grad} == {torch.float32}
    seen = []
    for model in (narrow, wide):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            seen.append(model(input_ids=IDS).logits)
    assert [value.dtype for value in seen] == [torch.bfloat16] * 2
    if autocast:
        assert torch.equal(*seen)
    assert moved(wide, autocast=autocast) > 0.99
