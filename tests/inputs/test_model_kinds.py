"""Folders that hold no model, or one of a kind that is not trained here: told before anything is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zero_weights

from alphaf_orch.core.errors import ModelError
from alphaf_orch.inputs.model_kinds import refusal, require_trainable
from alphaf_orch.inputs.own_model import BOS_CHATML, generic_preset
from alphaf_orch.inputs.presets import ModelPreset, is_own

FOLDERS = (Path(__file__).parents[2] / "templates" / "models",)
DENSE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 320, "tie_word_embeddings": False,
}  # fmt: skip
LAYER = "model.layers.0."
WHOLE = {"model.embed_tokens.weight": "BF16", "lm_head.weight": "BF16", LAYER + "self_attn.q_proj.weight": "BF16"}


def model(folder: Path, *, tensors: dict[str, str] | None = None, **config: Any) -> Path:
    """Write a model folder whose weights are zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**DENSE, **config}))
    (folder / "tokenizer.json").write_text('{"added_tokens": [{"content": "<|im_end|>", "id": 1}]}')
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>", "pad_token": "<pad>"}')
    said = WHOLE if tensors is None else tensors
    zero_weights.write(folder / "model.safetensors", {name: (dtype, [8, 8]) for name, dtype in said.items()})
    return folder


def told(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        generic_preset(str(folder), FOLDERS, {"HF_HOME": "/nowhere"})
    assert caught.value.exit_code == 4
    assert caught.value.where
    assert caught.value.fix
    return caught.value


def test_a_dense_decoder_is_taken(tmp_path: Path) -> None:
    for number, config in enumerate(
        (
            {},
            {"architectures": None},
            {"architectures": ["GPT2LMHeadModel"]},
            {"architectures": ["ChatGLMModel"], "auto_map": {"AutoModelForCausalLM": "x.Y"}},
            {"model_type": "granitemoehybrid", "num_local_experts": 0},  # Granite 4's dense models
            {"model_type": "jamba", "num_experts": 1},
            {"quantization_config": None, "vision_config": None, "is_encoder_decoder": False},
            {"num_experts_per_tok": 0},
        )
    ):
        folder = model(tmp_path / str(number), **config)
        require_trainable(folder)
        assert generic_preset(str(folder), FOLDERS, {}).chat_template == "chatml"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"model_type": "qwen3_moe", "num_experts": 128}, "num_experts: 128"),
        ({"model_type": "mixtral", "num_local_experts": 8}, "num_local_experts: 8"),
        ({"model_type": "gpt_oss", "num_local_experts": 32}, "num_local_experts: 32"),
        ({"model_type": "granitemoe", "num_local_experts": 40}, "num_local_experts: 40"),
        ({"model_type": "phimoe", "num_local_experts": 16}, "num_local_experts: 16"),
        ({"model_type": "jamba", "num_experts": 16}, "num_experts: 16"),
        ({"model_type": "deepseek_v3", "n_routed_experts": 256}, "n_routed_experts: 256"),
        ({"model_type": "ernie4_5_moe", "moe_num_experts": [64, 64]}, "moe_num_experts: [64, 64]"),
        ({"model_type": "dbrx", "ffn_config": {"moe_num_experts": 16}}, "ffn_config.moe_num_experts: 16"),
        ({"model_type": "made_at_home", "num_experts": 4}, "num_experts: 4"),
    ],
)
def test_mixtures_of_experts_are_told_by_their_keys(tmp_path: Path, config: dict[str, Any], key: str) -> None:
    error = told(model(tmp_path / "m", **config))
    assert error.what.startswith("the model is a mixture of experts")
    assert error.where.endswith(f"key {key}")


@pytest.mark.parametrize(
    "name",
    ["mlp.experts.0.up_proj.weight", "block_sparse_moe.gate.weight", "mlp.experts.gate_up_proj", "feed_forward.moe.w1"],
)
def test_mixtures_of_experts_are_told_by_their_weights(tmp_path: Path, name: str) -> None:
    error = told(model(tmp_path / "m", tensors={**WHOLE, LAYER + name: "BF16"}))
    assert error.where.endswith(LAYER + name)


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"model_type": "gemma3", "text_config": {"vocab_size": 8}, "vision_config": {"a": 1}}, "vision_config"),
        ({"model_type": "qwen2_5_vl", "vision_config": {"depth": 1}}, "vision_config"),
        ({"model_type": "mistral3", "text_config": {"hidden_size": 8}}, "text_config"),
        ({"model_type": "internvl_chat", "llm_config": {"hidden_size": 8}}, "llm_config"),
        ({"model_type": "llava_llama", "mm_vision_tower": "openai/clip"}, "mm_vision_tower"),
        ({"architectures": ["MllamaForConditionalGeneration"], "model_type": "mllama"}, "architectures"),
        ({"model_type": "qwen2_audio", "audio_config": {"a": 1}}, "audio_config"),
    ],
)
def test_models_of_text_and_images_are_refused(tmp_path: Path, config: dict[str, Any], where: str) -> None:
    error = told(model(tmp_path / "m", **config))
    assert error.what.startswith(f"this is a model of text and images or sound ({config['model_type']})")
    assert error.where.endswith(f"key {where}")


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "this is an encoder-decoder"),
        ({"architectures": ["BertForMaskedLM"]}, "the model was made to fill in blanks (BertForMaskedLM)"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "the model was made to classify"),
        ({"architectures": ["MistralModel"]}, "the model was made to embed texts"),
        ({"architectures": ["DistilBertForQuestionAnswering"]}, "the model was made for something else"),
        ({"architectures": ["LLaDAModelLM"], "auto_map": {"AutoModelForCausalLM": "m.L"}, "model_type": "llada"},
         "the model writes by diffusion (llada)"),
    ],
)  # fmt: skip
def test_what_is_no_decoder_is_refused(tmp_path: Path, config: dict[str, Any], what: str) -> None:
    assert told(model(tmp_path / "m", **config)).what.startswith(what)


@pytest.mark.parametrize(
    "config",
    [
        *({"quantization_config": {"quant_method": method}} for method in
          ("gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors", "hqq", "eetq", "mxfp4")),
        {"quantization_config": {"quant_method": "mxfp4"}, "num_local_experts": 32},
        {"compression_config": {"quant_method": "compressed-tensors"}},
        {"text_config": {"quantization_config": {"quant_method": "fp8"}}},
        {"quantization": {"group_size": 64, "bits": 4}},
    ],
)  # fmt: skip
def test_quantised_bases_are_told_by_their_settings(tmp_path: Path, config: dict[str, Any]) -> None:
    error = told(model(tmp_path / "m", **config))
    said = next((v for v in (config.get("text_config") or config).values() if isinstance(v, dict)), {})
    assert f"quantised already ({said.get('quant_method', 'mlx')})" in error.what
    assert "unquantised model it was made from" in error.fix


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("self_attn.q_proj.qweight", "I32"), ("self_attn.q_proj.weight_packed", "I32"),
        ("mlp.up_proj.weight_scale", "F32"),
        ("mlp.up_proj.weight", "F8_E4M3"), ("mlp.up_proj.weight", "I8"), ("mlp.up_proj.SCB", "F32"),
        ("mlp.up_proj.weight.absmax", "U8"), ("mlp.up_proj.W_q", "U8"), ("mlp.up_proj.weight_scale_inv", "F32"),
    ],
)  # fmt: skip
def test_quantised_bases_are_told_by_their_weights(tmp_path: Path, name: str, dtype: str) -> None:
    error = told(model(tmp_path / "m", tensors={**WHOLE, LAYER + name: dtype}))
    assert f"{name} is stored in {dtype}" in error.what


@pytest.mark.parametrize("file", ["quantize_config.json", "quant_config.json", "qmodel.pt"])
def test_quantised_bases_are_told_by_the_files_beside_them(tmp_path: Path, file: str) -> None:
    (model(tmp_path / "m") / file).write_text("{}")
    assert told(tmp_path / "m").where.endswith(file)


def test_a_model_without_a_head_is_refused(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", tensors={"model.embed_tokens.weight": "BF16"})
    with pytest.raises(ModelError, match=r"^the weights have no output head"):
        require_trainable(folder)
    require_trainable(model(tmp_path / "tied", tensors={"embed_tokens.weight": "BF16"}, tie_word_embeddings=True))
    require_trainable(
        model(tmp_path / "glm", tensors={"word_embeddings.weight": "BF16", "output_layer.weight": "BF16"})
    )


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("model_index.json", "this is a diffusion pipeline, no language model"),
        ("모델-Q4_K_M.gguf", "the weights are GGUF files, which are quantised and made for llama.cpp"),
        ("params.json", "the weights are in their makers' own layout"),
        ("trainer_state.json", "this is a checkpoint without a config.json"),
        ("README.md", "no config.json that can be read"),
    ],
)
def test_folders_of_something_else(tmp_path: Path, file: str, what: str) -> None:
    (tmp_path / file).write_text("{}")
    assert told(tmp_path).what.startswith(what)


def test_gguf_beside_a_config_and_an_embedding_model(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model.gguf")
    assert "GGUF" in told(folder).what
    folder = model(tmp_path / "e")
    (folder / "modules.json").write_text("[]")
    assert told(folder).what.startswith("this is an embedding model")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "the file is empty"), ('{"a": 1,\n', "line 2"), ("[]", "it holds a JSON list, not an object")],
)
def test_a_broken_config_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (model(tmp_path / "m") / "config.json").write_text(text)
    assert problem in told(tmp_path / "m").what


def test_the_folder_above_a_model_names_the_model(tmp_path: Path) -> None:
    inner = model(tmp_path / "models--org--base" / "snapshots" / "abc")
    assert told(tmp_path / "models--org--base").fix == f"pass {inner}"


def test_a_folder_without_a_tokenizer_is_told_as_that(tmp_path: Path) -> None:
    (model(tmp_path / "m") / "tokenizer.json").unlink()
    assert told(tmp_path / "m").what == "the folder has no tokenizer"


def test_an_adapter_is_told_with_what_to_pass_instead(tmp_path: Path) -> None:
    alone = tmp_path / "lora"
    alone.mkdir()
    (alone / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    error = told(alone)
    assert error.what == "this is an adapter to org/base, no whole model"
    assert "merge_and_unload" in error.fix
    ours = tmp_path / "run" / "sft"
    (ours / "checkpoint-2").mkdir(parents=True)
    (tmp_path / "run" / "manifest.json").write_text("{}")
    for place in (ours, ours / "checkpoint-2"):
        (place / "adapter_config.json").write_text("{}")
        assert told(place).fix == f"`alphaf run --run run` goes on to its merge; then pass {ours / 'merged'}"
    model(ours / "merged")
    for place in (ours, ours / "checkpoint-2"):
        assert told(place).fix == f"pass the model it was merged into: --model {ours / 'merged'}"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    assert told(tmp_path / "model.gguf").what.endswith("is a file, not a model's folder")


def test_nothing_is_said_of_a_folder_that_lacks_its_config(tmp_path: Path) -> None:
    assert refusal(tmp_path) is None


def test_a_folder_that_is_called_as_a_preset_is_neither_taken_nor_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_own("tiny", FOLDERS)
    assert is_own("내 모델/하나", FOLDERS)
    model(tmp_path / "tiny")
    model(tmp_path / "mine")
    assert is_own("./tiny", FOLDERS)
    assert is_own("mine", FOLDERS)
    with pytest.raises(ModelError) as caught:
        is_own("tiny", FOLDERS)
    assert caught.value.what == "'tiny' is a preset, and a folder here has that name too"
    (tmp_path / "orion").touch()
    assert not is_own("orion", FOLDERS), "a file is no model"


# Chat template and bos

BEGINS = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}


def chat(
    folder: Path, *, post: Any = None, template: str | None = None, asked: str | None = None, **said: Any
) -> ModelPreset:
    model(folder)
    tokenizer = {"added_tokens": [{"content": token} for token in ("<s>", "</s>", *said.pop("added", ()))]}
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": post}))
    named = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": template, **said}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return generic_preset(str(folder), FOLDERS, {}, asked)


@pytest.mark.parametrize(
    ("said", "bos"),
    [
        ({}, False),
        ({"post": BEGINS}, True),
        ({"post": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, BEGINS]}}, True),
        ({"post": BEGINS, "add_bos_token": False}, False),
        ({"add_bos_token": True}, True),
        ({"add_bos_token": True, "bos_token": None}, False),
        # Its makers' own template says best whether a bos belongs there.
        ({"post": BEGINS, "added": ("<|im_end|>",), "template": "{{ messages }}"}, False),
        ({"added": ("<|im_end|>",), "template": "{{ bos_token }}{{ messages }}"}, True),
        ({"added": ("<|im_end|>",), "template": "<s>{{ messages }}"}, True),
    ],
)
def test_chatml_begins_with_bos_where_the_base_reads_one(tmp_path: Path, said: dict[str, Any], bos: bool) -> None:
    found = chat(tmp_path / "m", **{"unk_token": "<unk>", **said})
    assert found.chat_template == ("jinja" if bos else "chatml")
    assert found.sft.get("chat_template_jinja") == (BOS_CHATML if bos else None)


def test_chatml_that_is_asked_for_gets_its_markers(tmp_path: Path) -> None:
    template = "{{ bos_token }}{% for m in messages %}[{{ m['content'] }}</s>{% endfor %}"
    own = chat(tmp_path / "a", template=template, unk_token="<unk>")
    assert (own.chat_template, own.tokens) == ("tokenizer_default", None)
    asked = chat(tmp_path / "b", template=template, asked="chatml")
    assert asked.tokens == ("<|im_start|>", "<|im_end|>")
    assert asked.special_tokens.eos_token == "<|im_end|>"
    assert asked.sft["lora_modules_to_save"] == ["embed_tokens", "lm_head"]


def test_a_vocabulary_in_two_files_is_read(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text('{"a": 0, "<|im_start|>": 1, "<|im_end|>": 2}')
    (folder / "merges.txt").write_text("#version: 0.2\n")
    found = generic_preset(str(folder), FOLDERS, {})
    assert (found.chat_template, found.tokens) == ("chatml", None)
