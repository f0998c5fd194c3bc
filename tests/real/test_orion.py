"""The native Orion: its numbers against plain torch, its names against the published ones, its tokenizer."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

# The published config.json's keys and spelling, with small numbers.
PUBLISHED: dict[str, Any] = {
    "architectures": ["OrionForCausalLM"],
    "attention_bias": False,
    "auto_map": {
        "AutoConfig": "configuration_orion.OrionConfig",
        "AutoModelForCausalLM": "modeling_orion.OrionForCausalLM",
    },
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "intermediate_size": 80,
    "max_position_embeddings": 128,
    "max_sequence_length": 128,
    "model_type": "orion",
    "num_attention_heads": 6,
    "num_hidden_layers": 3,
    "num_key_value_heads": 6,
    "pad_token_id": 0,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 5000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.34.0",
    "use_cache": True,
    "vocab_size": 100,
}
TEXTS = (
    "기준금리는 연 3.50%입니다.",
    "  앞과  뒤에 칸 ",
    "줄\n\n바꿈\n",
    "\n",
    "이모지 😀와 漢字",
    "Bonds fall\twhen rates rise.",
    "",
)
CONFIG, MODEL = (f"alphaf_orch.programs.architectures.{name}" for name in ("orion_config", "orion_model"))


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    """The classes, registered twice: a second time must change nothing."""
    from alphaf_orch.programs.architectures import orion

    orion.register()
    orion.register.cache_clear()
    orion.register_files.cache_clear()
    orion.register()


def write_config(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**PUBLISHED, **changes}), encoding="utf-8")
    return folder


def random_orion(folder: Path, seed: int = 0, **changes: Any) -> Any:
    """A model in which every weight is random, those of the norms and their biases above all."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(write_config(folder, **changes))).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.randn_like(value) * (0.5 if "norm" in name else 0.2) + (name.endswith("norm.weight")))
    return model


def plain_forward(weights: dict[str, torch.Tensor], config: dict[str, Any], ids: torch.Tensor) -> torch.Tensor:
    """Orion in nothing but torch, from its description: the reference that the class is compared with."""
    heads, kv_heads, hidden = config["num_attention_heads"], config["num_key_value_heads"], config["hidden_size"]
    size, length = hidden // heads, len(ids)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    angles = torch.arange(length)[:, None] / config["rope_theta"] ** (torch.arange(0, size, 2) / size)
    cos, sin = angles.cos(), angles.sin()

    def rotate(x: torch.Tensor) -> torch.Tensor:
        first, second = x[..., : size // 2], x[..., size // 2 :]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def split(x: torch.Tensor, count: int) -> torch.Tensor:
        return x.view(length, count, size).transpose(0, 1)

    hidden_ahead = torch.ones(length, length).triu(1).bool()
    x = weights["model.embed_tokens.weight"][ids]
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        y = norm(x, f"{layer}.input_layernorm")
        q, k, v = (y @ weights[f"{layer}.self_attn.{part}_proj.weight"].T for part in "qkv")
        q, k, v = rotate(split(q, heads)), rotate(split(k, kv_heads)), split(v, kv_heads)
        outputs = []
        for head in range(heads):
            group = head // (heads // kv_heads)
            scores = (q[head] @ k[group].T / size**0.5).masked_fill(hidden_ahead, float("-inf"))
            outputs.append(scores.softmax(-1) @ v[group])
        x = x + torch.cat(outputs, dim=-1) @ weights[f"{layer}.self_attn.o_proj.weight"].T
        y = norm(x, f"{layer}.post_attention_layernorm")
        gate, up = (y @ weights[f"{layer}.mlp.{part}_proj.weight"].T for part in ("gate", "up"))
        x = x + (gate * gate.sigmoid() * up) @ weights[f"{layer}.mlp.down_proj.weight"].T
    return norm(x, "model.norm") @ weights["lm_head.weight"].T


@pytest.mark.parametrize("kv_heads", [6, 2])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_are_those_of_a_plain_torch_forward_pass(tmp_path: Path, kv_heads: int, attention: str) -> None:
    model = random_orion(tmp_path, num_key_value_heads=kv_heads)
    model.set_attn_implementation(attention)
    ids = torch.randint(0, 100, (2, 37), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(ids).logits
    config = {**PUBLISHED, "num_key_value_heads": kv_heads}
    wanted = torch.stack([plain_forward(model.state_dict(), config, row) for row in ids])
    assert wanted.std() > 0.5
    torch.testing.assert_close(logits, wanted, rtol=2e-4, atol=2e-4)


def test_checkpoint_keys_are_the_published_ones(tmp_path: Path) -> None:
    parts = [f"self_attn.{p}_proj.weight" for p in "qkvo"] + [f"mlp.{p}_proj.weight" for p in ("gate", "up", "down")]
    parts += [
        f"{norm}.{part}" for norm in ("input_layernorm", "post_attention_layernorm") for part in ("weight", "bias")
    ]
    wanted = {f"model.layers.{number}.{part}" for number in range(3) for part in parts}
    wanted |= {"model.embed_tokens.weight", "model.norm.weight", "model.norm.bias", "lm_head.weight"}
    assert set(random_orion(tmp_path).state_dict()) == wanted


@pytest.mark.parametrize("trust", [None, False, True])
def test_the_published_config_loads_our_class_and_asks_nothing(
    tmp_path: Path, trust: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has an auto_map and none of its python files: whoever looked for them would fail."""
    from transformers import AutoConfig, AutoModelForCausalLM

    def asked(*_: object) -> str:
        raise AssertionError("a prompt")

    monkeypatch.setattr("builtins.input", asked)
    random_orion(tmp_path / "weights").save_pretrained(tmp_path / "모델")
    write_config(tmp_path / "모델", vocab_size=100)
    config = AutoConfig.from_pretrained(tmp_path / "모델", trust_remote_code=trust)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "모델", trust_remote_code=trust)
    assert (type(config).__module__, type(model).__module__) == (CONFIG, MODEL)
    assert config.rope_parameters["rope_theta"] == 5000.0
    assert (model.dtype, model.model.norm.eps, model.model.layers[0].input_layernorm.bias.shape) == (
        torch.float32, 1e-5, (48,),
    )  # fmt: skip


def test_defaults_are_the_published_sizes() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("orion"))
    assert model.num_parameters() == 14_498_703_360


def test_saving_and_loading_changes_no_weight(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = random_orion(tmp_path / "a")
    model.save_pretrained(tmp_path / "b")
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not any(info.values())
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_rotary_tables_of_old_checkpoints_are_left_aside(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    random_orion(tmp_path / "a").save_pretrained(tmp_path / "b")
    weights = load_file(tmp_path / "b" / "model.safetensors")
    for table in ("inv_freq", "cos_cached", "sin_cached"):
        weights[f"model.layers.0.self_attn.rotary_emb.{table}"] = torch.ones(4)
    save_file(weights, tmp_path / "b" / "model.safetensors", metadata={"format": "pt"})
    _, info = AutoModelForCausalLM.from_pretrained(tmp_path / "b", output_loading_info=True)
    assert not any(info.values())


def test_generation_with_a_cache_is_that_of_the_whole_text(tmp_path: Path) -> None:
    model = random_orion(tmp_path, num_key_value_heads=2)
    prompts = [[5, 17, 40, 8, 23], [61, 9]]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    settings = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": None, "pad_token_id": 0}
    made = model.generate(ids, attention_mask=mask, **settings)[:, width:].tolist()
    for prompt, found in zip(prompts, made, strict=True):
        text = list(prompt)
        for _ in range(12):
            logits = plain_forward(model.state_dict(), {**PUBLISHED, "num_key_value_heads": 2}, torch.tensor(text))
            text.append(int(logits[-1].argmax()))
        assert found == text[len(prompt) :]


def test_gradient_checkpointing_gives_the_same_gradients(tmp_path: Path) -> None:
    model = random_orion(tmp_path).train()
    ids = torch.randint(0, 100, (2, 16), generator=torch.Generator().manual_seed(1))

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(ids, labels=ids, use_cache=False).loss.backward()
        return {name: value.grad.clone() for name, value in model.named_parameters()}

    plain = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    calls = []
    hook = model.model.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    again = gradients()
    hook.remove()
    assert len(calls) == 2, "the layer is run again for the backward pass"
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(again[name], gradient)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_rows_see_only_themselves(tmp_path: Path, attention: str) -> None:
    """Position ids that begin again are how packing marks its rows, for flash attention too."""
    model = random_orion(tmp_path)
    model.set_attn_implementation(attention)
    rows = [torch.tensor([[5, 17, 40, 8, 23]]), torch.tensor([[61, 9, 77]])]
    with torch.no_grad():
        alone = torch.cat([model(row).logits for row in rows], dim=1)
        positions = torch.cat([torch.arange(row.shape[1]) for row in rows])[None]
        packed = model(torch.cat(rows, dim=1), position_ids=positions, use_cache=False).logits
        one_text = model(torch.cat(rows, dim=1), use_cache=False).logits
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(one_text[:, 5:], alone[:, 5:], atol=1e-2)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_a_norm_answers_in_the_dtype_of_the_states(stored: torch.dtype) -> None:
    """Training keeps norms in float32 beside bfloat16 states, and CUDA's layer_norm takes one dtype only."""
    from alphaf_orch.programs.architectures.orion_model import OrionLayerNorm

    torch.manual_seed(0)
    norm = OrionLayerNorm(64, eps=1e-5)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    norm.to(stored)
    states = torch.randn(3, 64).bfloat16()
    found = norm(states)
    wanted = torch.nn.functional.layer_norm(states.float(), (64,), norm.weight.float(), norm.bias.float(), 1e-5)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted.bfloat16())


# The tokenizer


def sentencepiece_folder(folder: Path, **rules: Any) -> tuple[Path, Any]:
    """A folder as published (a sentencepiece model, an auto_map, no tokenizer.json), and sentencepiece's own reader."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    corpus = ["기준금리는 한국은행 금융통화위원회가 정합니다.", "The base rate is decided by the board.", "system user"]
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus * 9), model_writer=made, model_type="bpe", vocab_size=360, byte_fallback=True,
        num_threads=1, minloglevel=2, **{"normalization_rule_name": "identity", **rules},
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(made.getvalue())
    settings = {
        "auto_map": {"AutoTokenizer": ["tokenization_orion.OrionTokenizer", None]},
        "tokenizer_class": "OrionTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    write_config(folder)
    return folder, sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


@pytest.mark.parametrize("trust", [None, False])
@pytest.mark.parametrize(
    "rules",
    [
        {"remove_extra_whitespaces": False},
        {"remove_extra_whitespaces": True},
        {"add_dummy_prefix": False, "remove_extra_whitespaces": False},
        {"normalization_rule_name": "nfkc", "remove_extra_whitespaces": False},
    ],
    ids=lambda rules: "-".join(f"{key}" for key in rules),
)
def test_ids_are_sentencepieces(tmp_path: Path, rules: dict[str, Any], trust: bool | None) -> None:
    from transformers import AutoTokenizer

    folder, theirs = sentencepiece_folder(tmp_path / "토크나이저", **rules)
    ours = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    assert type(ours).__module__ == CONFIG
    assert (ours.bos_token_id, ours.eos_token_id, ours.unk_token_id, len(ours)) == (1, 2, 0, 360)
    for text in TEXTS:
        ids = ours(text, add_special_tokens=False)["input_ids"]
        assert ids == theirs.encode(text), text
        assert ours.decode(ids) == theirs.decode(ids), text


def test_a_user_defined_symbol_is_one_token(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder, theirs = sentencepiece_folder(tmp_path, user_defined_symbols=["한국은행"])
    ours = AutoTokenizer.from_pretrained(folder)
    symbol = theirs.piece_to_id("한국은행")
    assert symbol in theirs.encode("금리는한국은행이")
    assert symbol in ours("금리는한국은행이", add_special_tokens=False)["input_ids"]
    assert len(ours) == 360


def test_the_saved_tokenizer_is_the_same_and_names_no_remote_code(tmp_path: Path) -> None:
    from transformers import AddedToken, AutoTokenizer

    folder, _ = sentencepiece_folder(tmp_path / "a", remove_extra_whitespaces=False)
    ours = AutoTokenizer.from_pretrained(folder)
    ours.add_tokens([AddedToken(marker, normalized=False) for marker in ("<|im_start|>", "<|im_end|>")])
    ours.chat_template = "{{ messages[0]['content'] }}"
    ours.save_pretrained(tmp_path / "b")
    write_config(tmp_path / "b")
    again = AutoTokenizer.from_pretrained(tmp_path / "b")
    text = "<|im_start|>user\n기준금리는? 😀<|im_end|>\n"
    assert again(text)["input_ids"] == ours(text)["input_ids"]
    assert [number for number in again(text)["input_ids"] if number >= 360] == [360, 361]
    assert again.decode(again("기준금리는? 😀")["input_ids"]) == "기준금리는? 😀"
    assert (len(again), again.convert_tokens_to_ids("<|im_end|>")) == (362, 361)
    assert again.chat_template == ours.chat_template
    assert "auto_map" not in json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    import sentencepiece
    from transformers import AutoTokenizer

    folder, _ = sentencepiece_folder(tmp_path)
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f"] * 9), model_writer=made, model_type="unigram", vocab_size=10,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(made.getvalue())
    with pytest.raises(ValueError, match="of type 1; Orion's is BPE"):
        AutoTokenizer.from_pretrained(folder)


def test_import_is_light_and_registering_the_files_loads_no_model_code() -> None:
    code = (
        "import sys; from alphaf_orch.programs.architectures import orion;"
        "print({'torch', 'transformers'} & set(sys.modules)); orion.register_files();"
        "print([name for name in sys.modules if 'modeling_llama' in name or 'orion_model' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n[]\n"
