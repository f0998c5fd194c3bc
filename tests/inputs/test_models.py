"""Model presets, a user's own model, where weights lie, and what is said when they don't."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zero_weights

from alphaf_orch.core.errors import AlphafError, ConfigError, ModelError
from alphaf_orch.estimates.shapes import shape_of
from alphaf_orch.estimates.trained import adapter_parameters
from alphaf_orch.inputs import hub_cache, presets, weights
from alphaf_orch.inputs.model_kinds import require_trainable
from alphaf_orch.inputs.own_model import LLAMA_LINEAR, generic_preset

REPOSITORY = Path(__file__).resolve().parents[2]
PRESETS = REPOSITORY / "templates" / "models"
FOLDERS = (PRESETS,)
NAMES = ("eeve", "eeve-instruct", "orion", "qwen", "smollm2", "tiny", "tiny-eeve", "tiny-orion", "tiny-qwen")
COMMIT = "a" * 40


def preset(name: str) -> presets.ModelPreset:
    return presets.load_preset(name, FOLDERS)


def shape(name: str) -> presets.Architecture:
    architecture = preset(name).architecture
    assert architecture is not None
    return architecture


def safetensors(path: Path, size: int = 16) -> None:
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))


def model_dir(folder: Path, *, shards: int = 0, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or {}))
    (folder / "tokenizer.json").write_text("{}")
    names = [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]
    for name in names or ["model.safetensors"]:
        safetensors(folder / name)
    if names:
        index = {"weight_map": {f"w{n}": name for n, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def cached(home: Path, repo_id: str, **kwargs: Any) -> Path:
    repo = home / "hub" / f"models--{repo_id.replace('/', '--')}"
    folder = model_dir(repo / "snapshots" / COMMIT, **kwargs)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    return folder


# Presets


def test_every_shipped_preset_loads_and_no_file_is_left_out() -> None:
    assert tuple(p.name for p in presets.list_presets(FOLDERS)) == NAMES
    assert sorted(path.name for path in PRESETS.iterdir()) == sorted(f"{n}.yaml" for n in (*NAMES, "generic"))


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_value_has_its_source_in_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if not line.startswith("#") and not line.endswith(":") and "  # " not in line]
    assert bare == []


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        (
            "eeve",
            ("LlamaForCausalLM", 48, 4096, 14336, 32, 8, 40960, 4096, "RMSNorm", 1e4, False, 10_804_924_416),
        ),
        (
            "qwen",
            (
                "Qwen2ForCausalLM",
                40,
                5120,
                13696,
                40,
                40,
                152064,
                32768,
                "RMSNorm",
                1e6,
                False,
                14_167_290_880,
            ),
        ),
        (
            "orion",
            (
                "OrionForCausalLM",
                40,
                5120,
                15360,
                40,
                40,
                84608,
                4096,
                "LayerNorm",
                1e4,
                False,
                14_498_703_360,
            ),
        ),
    ],
)
def test_shapes_of_the_articles_models(name: str, golden: tuple[Any, ...]) -> None:
    assert tuple(shape(name).model_dump(exclude_none=True).values()) == golden


def test_hub_ids_of_the_articles_models() -> None:
    assert {name: preset(name).base_model for name in ("eeve", "qwen", "orion")} == {
        "eeve": "yanolja/EEVE-Korean-10.8B-v1.0",
        "qwen": "Qwen/Qwen1.5-14B",
        "orion": "OrionStarAI/Orion-14B-Base",
    }


def test_special_tokens() -> None:
    assert {name: tuple(preset(name).special_tokens.model_dump().values()) for name in NAMES} == {
        "eeve": ("<s>", "<|im_end|>", "</s>"),
        "eeve-instruct": ("<s>", "<|im_end|>", "</s>"),
        "orion": ("<s>", "<|im_end|>", "</s>"),
        "qwen": (None, "<|im_end|>", "<|endoftext|>"),
        "smollm2": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
        "tiny": ("<s>", "<|im_end|>", "</s>"),
        "tiny-eeve": ("<s>", "<|im_end|>", "</s>"),
        "tiny-orion": ("<s>", "<|im_end|>", "</s>"),
        "tiny-qwen": (None, "<|im_end|>", "<|endoftext|>"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_added_tokens_come_with_trained_embeddings(name: str) -> None:
    chosen = preset(name)
    trained = chosen.sft.get("lora_modules_to_save")
    assert trained == (["embed_tokens", "lm_head"] if chosen.tokens else None)


@pytest.mark.parametrize("name", NAMES)
def test_sft_keys_are_axolotls(name: str) -> None:
    keys = json.loads((REPOSITORY / "alphaf_orch" / "schemas" / "axolotl.json").read_text())["keys"]
    assert set(preset(name).sft) - set(keys) == set()


def test_large_models_ask_for_the_articles_eight_gpus_and_yis_sequence_length() -> None:
    assert [(preset(n).gpus, preset(n).sequence_len) for n in ("eeve", "qwen", "orion")] == [(8, 4096)] * 3
    assert {preset(n).gpus for n in NAMES if n.startswith(("tiny", "smollm2"))} == {"auto"}


@pytest.mark.parametrize("name", ["eeve", "orion", "qwen"])
def test_a_tiny_model_has_the_layout_of_the_one_it_stands_for(name: str) -> None:
    large, tiny = preset(name), preset(f"tiny-{name}")
    same = ("trust_remote_code_required", "chat_template", "special_tokens", "tokens")
    assert {key: getattr(tiny, key) for key in same} == {key: getattr(large, key) for key in same}
    assert tiny.sft.get("lora_modules_to_save") == large.sft.get("lora_modules_to_save")
    for key in ("class_name", "norm", "rope_theta", "tie_word_embeddings"):
        assert getattr(shape(f"tiny-{name}"), key) == getattr(shape(name), key)
    grouped = {n: shape(n).attention_heads > shape(n).kv_heads for n in (name, f"tiny-{name}")}
    assert set(grouped.values()) == {name == "eeve"}


def test_no_preset_needs_remote_code() -> None:
    assert [name for name in NAMES if preset(name).trust_remote_code_required] == []


def test_a_preset_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        preset("tiny").name = "other"  # type: ignore[misc]


def test_the_users_folder_comes_first(tmp_path: Path) -> None:
    text = (PRESETS / "tiny.yaml").read_text(encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(text.replace("max_steps: 10 ", "max_steps: 99 "), encoding="utf-8")
    mine = text.replace("name: tiny", "name: mine").replace("2.0e-3", "2e-3")
    (tmp_path / "mine.yaml").write_text(mine, encoding="utf-8")
    folders = (tmp_path, PRESETS)
    assert presets.load_preset("tiny", folders).sft["max_steps"] == 99
    assert presets.load_preset("mine", folders).sft["learning_rate"] == 0.002  # YAML 1.1 reads 2e-3 as text
    assert presets.preset_names(folders) == tuple(sorted((*NAMES, "mine")))


@pytest.mark.parametrize(
    ("name", "hint"), [("eve", "; did you mean 'eeve'?"), ("../eeve", "; did you mean 'eeve'?"), ("gpt", "")]
)
def test_unknown_model(name: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        preset(name)
    assert caught.value.exit_code == 4
    assert caught.value.message == (
        f"no model is called {name!r}{hint}\n"
        f"  where: --model {name}; known models: {', '.join(NAMES)}\n"
        "  next:  use a known name, the path of a model folder, or a hub id such as ORG/NAME"
    )


def test_generic_is_no_model() -> None:
    with pytest.raises(ModelError, match="no model is called 'generic'"):
        preset("generic")


@pytest.mark.parametrize(
    ("old", "new", "what", "line"),
    [
        ("\nsft:", "\nlora_rank: 8\nsft:", "lora_rank: is not a known key", 30),
        ("  layers: 2 ", "  layers: two ", "architecture.layers: Input should be a valid integer", 11),
        ("\nsft:", "\nname: tiny\nsft:", "key name is given twice, first on line 2", 30),
        ("name: tiny ", "name: Tiny ", "name: is 'Tiny', but the file is tiny.yaml", 2),
        ("gpus: auto", "gpus: 0", "gpus: Input should be greater than 0", 29),
    ],
)
def test_bad_preset(tmp_path: Path, old: str, new: str, what: str, line: int) -> None:
    text = (PRESETS / "tiny.yaml").read_text(encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        presets.load_preset("tiny", (tmp_path,))
    assert caught.value.exit_code == 2
    assert caught.value.what.startswith(f"model preset tiny: {what}")
    assert caught.value.where == f"{path} line {line}"


def test_all_mistakes_of_a_preset_are_told_in_one_go(tmp_path: Path) -> None:
    text = (PRESETS / "tiny.yaml").read_text(encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace("licence:", "license:").replace("layers: 2 ", "layers: 둘 "), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        presets.load_preset("tiny", (tmp_path,))
    lines = caught.value.what.splitlines()
    assert lines[0] == "3 mistakes:"
    assert [line.partition("model preset")[0].strip() for line in lines[1:]] == ["line 1:", "line 8:", "line 11:"]
    assert caught.value.where == str(path)


@pytest.mark.parametrize("content", ["a: [", "- just\n- a list\n", "", "\xff"])
def test_preset_file_that_is_no_mapping(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError) as caught:
        presets.load_preset("mine", (tmp_path,))
    assert caught.value.where.startswith(str(path))


# A model of the user's own


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 48,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 40960,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}


def own_model(folder: Path, tokenizer: dict[str, Any], *, added: tuple[str, ...] = (), **config: Any) -> Path:
    model_dir(folder, config={**CONFIG, **config})
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": text} for text in added]}))
    return folder


def generic(model: object, env: dict[str, str] | None = None) -> presets.ModelPreset:
    return generic_preset(str(model), FOLDERS, env or {"HF_HOME": "/nowhere"})


def test_own_model_gets_its_shape_from_config_json(tmp_path: Path) -> None:
    tokenizer = {"bos_token": {"content": "<s>"}, "eos_token": "<|im_end|>", "pad_token": "</s>"}
    folder = own_model(tmp_path / "my model", tokenizer, added=("<|im_end|>",))
    found = generic(folder)
    assert found.architecture == shape("eeve")
    assert (found.name, found.source, found.base_model) == ("my model", "local", str(folder))
    assert found.special_tokens == preset("eeve").special_tokens
    assert (found.chat_template, found.tokens, found.sft) == ("chatml", None, {})
    assert (found.sequence_len, found.trust_remote_code_required) == (4096, False)


def test_own_model_without_markers_or_template_gets_trained_chatml_tokens(tmp_path: Path) -> None:
    tokenizer = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None}
    found = generic(own_model(tmp_path / "base", tokenizer, max_position_embeddings=2048))
    assert (found.chat_template, found.tokens) == ("chatml", ("<|im_start|>", "<|im_end|>"))
    assert found.sft == {"lora_modules_to_save": ["embed_tokens", "lm_head"]}
    assert found.special_tokens.model_dump() == {
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "pad_token": "</s>",
    }
    assert found.sequence_len == 2048
    assert found.architecture is not None
    assert found.architecture.vocab_size == 40962


def test_own_model_with_another_template_keeps_it(tmp_path: Path) -> None:
    tokenizer = {
        "eos_token": "<|eot|>",
        "pad_token": "<|eot|>",
        "unk_token": "<unk>",
        "chat_template": "{{ x }}",
    }
    found = generic(own_model(tmp_path / "chat", tokenizer))
    assert (found.chat_template, found.tokens) == ("tokenizer_default", None)
    assert tuple(found.special_tokens.model_dump().values()) == (None, "<|eot|>", "<unk>")


def test_own_model_names_its_special_tokens_in_a_file_apart_or_by_the_models_id(tmp_path: Path) -> None:
    folder = own_model(tmp_path / "apart", {}, added=("<|im_end|>",))
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>", "pad_token": {"content": "<p>"}}))
    assert tuple(generic(folder).special_tokens.model_dump().values()) == (None, "<|im_end|>", "<p>")
    # transformers reads that file over tokenizer_config.json, unless the latter lists the added tokens.
    for listed, pad in (({}, "<p>"), ({"added_tokens_decoder": {}}, "<other>")):
        (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<other>", **listed}))
        assert generic(folder).special_tokens.pad_token == pad
    (folder / "special_tokens_map.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}", "pad_token": "<p>"}))
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": "<|eot|>", "id": 7}]}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 1]}))
    assert generic(folder).special_tokens.eos_token == "<|eot|>"


def with_tensors(folder: Path, **shapes: list[int]) -> Path:
    """Put a safetensors file of these tensors, their contents aside, into a model folder."""
    zero_weights.write(folder / "model.safetensors", {name: ("U8", shape) for name, shape in shapes.items()})
    return folder


LAYER = "model.layers.0."


def test_own_model_is_tied_where_its_weights_have_no_head(tmp_path: Path) -> None:
    tokenizer = {"eos_token": "</s>", "bos_token": "<s>"}
    for name, names, said, tied in (
        ("a", ["model.embed_tokens.weight"], {}, True),
        ("b", ["model.embed_tokens.weight", "lm_head.weight"], {}, False),
        ("c", ["model.embed_tokens.weight"], {"tie_word_embeddings": False}, False),
    ):
        folder = with_tensors(own_model(tmp_path / name, tokenizer, **said), **{key: [8, 8] for key in names})
        found = generic(folder)
        assert found.architecture is not None
        assert found.architecture.tie_word_embeddings is tied


def test_dpo_adapts_the_linear_layers_an_own_model_has(tmp_path: Path) -> None:
    tokenizer = {"eos_token": "<|im_end|>", "pad_token": "<p>"}
    norm = {LAYER + "input_layernorm.weight": [8], "model.embed_tokens.weight": [8, 8]}
    llama = {key: [8, 8] for key in (LAYER + f"mlp.{name}.weight" for name in LLAMA_LINEAR)}
    fused = {key: [8, 8] for key in (LAYER + f"mlp.{name}.weight" for name in ("qkv_proj", "o_proj"))}
    made = [own_model(tmp_path / str(i), tokenizer, added=("<|im_end|>",)) for i in range(3)]
    assert generic(with_tensors(made[0], **norm, **llama)).dpo == {}
    assert generic(with_tensors(made[1], **norm, **fused)).dpo == {"lora_target_modules": ["o_proj", "qkv_proj"]}
    neox = generic(with_tensors(made[2], **norm, **fused, **{"embed_out.weight": [8, 8]}))
    assert neox.sft == {"lora_target_linear": False, "lora_target_modules": ["o_proj", "qkv_proj"]}


def test_what_the_dpo_recipe_adapts_is_llamas(tmp_path: Path) -> None:
    recipe = (PRESETS.parent / "dpo" / "dpo.yaml.j2").read_text(encoding="utf-8")
    assert f"lora_target_modules: [{', '.join(sorted(LLAMA_LINEAR, key=recipe.index))}]" in recipe


def test_heads_may_have_a_width_of_their_own(tmp_path: Path) -> None:
    found = generic(own_model(tmp_path / "m", {"eos_token": "</s>", "bos_token": "<s>"}, head_dim=256)).architecture
    assert found is not None
    assert found.head_dim == 256
    assert found.parameters - shape("eeve").parameters == 48 * 2 * 4096 * 128 * (32 + 8) + 2 * 2 * 4096
    wider, usual = (adapter_parameters(shape_of(each), {"lora_r": 1}) for each in (found, shape("eeve")))
    assert wider - usual == 48 * 2 * 128 * (32 + 8)


@pytest.mark.parametrize(
    ("config", "tensor", "what"),
    [
        (
            {"quantization_config": {"quant_method": "gptq"}},
            "lm_head.weight",
            "the weights are quantised already (gptq)",
        ),
        ({}, LAYER + "mlp.experts.0.up_proj.weight", "the model is a mixture of experts"),
        ({}, LAYER + "block_sparse_moe.gate.weight", "the model is a mixture of experts"),
    ],
)
def test_weights_that_could_not_be_merged_are_refused(
    tmp_path: Path, config: dict[str, Any], tensor: str, what: str
) -> None:
    folder = with_tensors(own_model(tmp_path / "m", {"eos_token": "</s>"}, **config), **{tensor: [8, 8]})
    with pytest.raises(ModelError) as caught:
        require_trainable(folder)
    assert caught.value.what.startswith(what)


def test_own_model_of_another_shape_or_with_code(tmp_path: Path) -> None:
    tokenizer = {"eos_token": "<|im_end|>", "pad_token": "<pad>"}
    folder = own_model(tmp_path / "m", tokenizer, added=("<|im_end|>",), auto_map={"AutoConfig": "conf.C"})
    assert generic(folder).trust_remote_code_required
    (folder / "config.json").write_text('{"d_model": 64}')
    assert generic(folder).architecture is None


def test_an_own_orion_needs_none_of_the_code_that_its_config_names(tmp_path: Path) -> None:
    auto_map = {"AutoConfig": "configuration_orion.OrionConfig", "AutoModelForCausalLM": "modeling_orion.X"}
    tokenizer = {"bos_token": "<s>", "eos_token": "</s>"}
    folder = own_model(tmp_path / "내 오리온", tokenizer, model_type="orion", auto_map=auto_map)
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    found = generic(folder)
    assert not found.trust_remote_code_required
    assert found.architecture is not None
    assert found.architecture.norm == "LayerNorm"
    assert found.tokens == ("<|im_start|>", "<|im_end|>")
    assert weights.weights_state(found, tmp_path, {}).kind == "ready"
    presets.require_trust(found, trust_remote_code=False)


def test_own_model_that_cannot_be_padded(tmp_path: Path) -> None:
    folder = own_model(tmp_path / "m", {"eos_token": "<|im_end|>"}, added=("<|im_end|>",))
    with pytest.raises(ModelError) as caught:
        generic(folder)
    assert caught.value.message == (
        "the tokenizer has no token to pad with that differs from eos\n"
        f"  where: {folder / 'tokenizer_config.json'}\n"
        "  next:  write a preset for the model that names special_tokens, and pass its name as --model"
    )


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_own_folder_without_a_config(tmp_path: Path, text: str) -> None:
    if text:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"^no config\.json that can be read"):
        generic(tmp_path)


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "a/b/c", "gone", "모델/없음"])
def test_neither_folder_nor_hub_id(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        generic(name)
    assert caught.value.what == f"{name!r} is neither a folder nor a hub id"


def test_own_hub_id(tmp_path: Path) -> None:
    env = {"HF_HOME": str(tmp_path)}
    before = generic("org/base", env)
    assert (before.name, before.base_model, before.architecture) == ("base", "org/base", None)
    folder = cached(tmp_path, "org/base", config=CONFIG)
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    after = generic("org/base", env)
    assert after.architecture is not None
    assert after.special_tokens.pad_token == "</s>"


# Weights on this machine


def test_weights_of_a_hub_model(tmp_path: Path) -> None:
    env = {"HF_HOME": str(tmp_path)}
    eeve = preset("eeve")
    place = tmp_path / "hub" / "models--yanolja--EEVE-Korean-10.8B-v1.0"
    missing = weights.weights_state(eeve, tmp_path, env)
    assert missing == weights.WeightsState(
        "missing", None, None, f"yanolja/EEVE-Korean-10.8B-v1.0@main is not in {place}"
    )
    with pytest.raises(ModelError) as caught:
        weights.require_weights(eeve, missing, env, online=False)
    assert caught.value.exit_code == 4
    assert caught.value.message == (
        "the weights of eeve are not on this machine\n"
        f"  where: yanolja/EEVE-Korean-10.8B-v1.0@main is not in {place}\n"
        "  next:  on a machine with a network run `hf download yanolja/EEVE-Korean-10.8B-v1.0` and copy its "
        f"folder models--yanolja--EEVE-Korean-10.8B-v1.0 (HF_HOME/hub there) to {tmp_path / 'hub'}; "
        "or pass --model /path/to/the/folder; or allow the download with --online"
    )
    assert weights.require_weights(eeve, missing, env, online=True) is missing

    folder = cached(tmp_path, eeve.base_model, shards=3)
    ready = weights.weights_state(eeve, tmp_path, env)
    assert ready == weights.WeightsState("ready", folder, COMMIT, f"commit {COMMIT}")
    assert weights.require_weights(eeve, ready, env, online=False) is ready

    (folder / "model-00002-of-00003.safetensors").unlink()
    incomplete = weights.weights_state(eeve, tmp_path, env)
    problem = "model-00002-of-00003.safetensors (absent)"
    assert incomplete == weights.WeightsState("incomplete", folder, COMMIT, problem)
    with pytest.raises(ModelError) as caught:
        weights.require_weights(eeve, incomplete, env, online=False)
    assert caught.value.what == "the weights of eeve are incomplete"
    assert caught.value.where == f"{folder}: {problem}"


def test_a_recorded_commit_is_insisted_on(tmp_path: Path) -> None:
    env = {"HF_HOME": str(tmp_path)}
    cached(tmp_path, "yanolja/EEVE-Korean-10.8B-v1.0")
    pinned = preset("eeve").model_copy(update={"revision": COMMIT})
    assert weights.weights_state(pinned, tmp_path, env).kind == "ready"
    other = preset("eeve").model_copy(update={"revision": "b" * 40})
    state = weights.weights_state(other, tmp_path, env)
    assert state.kind == "missing"
    with pytest.raises(ModelError, match=f"hf download yanolja/EEVE-Korean-10.8B-v1.0 --revision {'b' * 40}`"):
        weights.require_weights(other, state, env, online=False)


def test_weights_of_a_built_model(tmp_path: Path) -> None:
    tiny = preset("tiny")
    state = weights.weights_state(tiny, tmp_path, {})
    assert state == weights.WeightsState("build", tmp_path / "tiny", None, "made on this machine by build_tiny.py")
    assert weights.require_weights(tiny, state, {}, online=False) is state
    folder = model_dir(tmp_path / "tiny")
    assert weights.weights_state(tiny, tmp_path, {}).kind == "ready"
    (folder / "config.json").unlink()
    broken = weights.weights_state(tiny, tmp_path, {})
    with pytest.raises(ModelError) as caught:
        weights.require_weights(tiny, broken, {}, online=True)
    assert caught.value.message == (
        "the weights of tiny are incomplete\n"
        f"  where: {folder}: config.json (absent or not JSON)\n"
        f"  next:  remove {folder} and run again: it is made anew"
    )


def test_weights_of_a_local_folder(tmp_path: Path) -> None:
    folder = own_model(tmp_path / "m", {"eos_token": "</s>"})
    assert weights.weights_state(generic(folder), tmp_path, {}).path == folder
    (folder / "model.safetensors").unlink()
    state = weights.weights_state(generic(folder), tmp_path, {})
    with pytest.raises(ModelError) as caught:
        weights.require_weights(generic(folder), state, {}, online=True)
    assert caught.value.where == f"{folder}: model.safetensors (absent, and no other weights)"


def test_remote_code_needs_permission() -> None:
    presets.require_trust(preset("eeve"), trust_remote_code=False)
    other = preset("eeve").model_copy(
        update={"name": "other", "base_model": "org/other", "trust_remote_code_required": True}
    )
    presets.require_trust(other, trust_remote_code=True)
    with pytest.raises(ModelError) as caught:
        presets.require_trust(other, trust_remote_code=False)
    assert isinstance(caught.value, AlphafError)
    assert caught.value.message == (
        "other runs python code that comes with its weights\n"
        "  where: org/other: no class of transformers loads it\n"
        "  next:  read the .py files in the model's folder, then pass --trust-remote-code"
    )


# The cache


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HOME": "/h"}, "/h/.cache/huggingface/hub"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", "HF_HOME": "~/hf"}, "/h/hf/hub"),
        ({"HOME": "/h", "HF_HOME": "/e", "HUGGINGFACE_HUB_CACHE": "/o"}, "/o"),
        ({"HOME": "/h", "D": "/data", "HF_HUB_CACHE": "$D/hub", "HUGGINGFACE_HUB_CACHE": "/o"}, "/data/hub"),
        ({"HOME": "/h", "HF_HOME": "", "HF_HUB_CACHE": ""}, "/h/.cache/huggingface/hub"),
    ],
)
def test_cache_root(env: dict[str, str], expected: str) -> None:
    assert hub_cache.cache_root(env) == Path(expected)


def test_snapshot_of_a_dataset_by_branch_and_commit(tmp_path: Path) -> None:
    env = {"HF_HUB_CACHE": str(tmp_path)}
    folder = tmp_path / "datasets--argilla--dpo-mix-7k" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    refs = folder.parent.parent / "refs"
    refs.mkdir()
    (refs / "v1").write_text(COMMIT)
    found = {
        revision: hub_cache.snapshot("argilla/dpo-mix-7k", "dataset", revision, env)
        for revision in (None, "v1", COMMIT, "v2")
    }
    assert found == {None: None, "v1": folder, COMMIT: folder, "v2": None}
    (refs / "main").write_text("b" * 40)  # a ref whose snapshot was never copied
    assert hub_cache.snapshot("argilla/dpo-mix-7k", "dataset", None, env) is None
    assert hub_cache.snapshot("argilla/dpo-mix-7k", "model", "v1", env) is None


def test_missing_files_of_a_complete_folder(tmp_path: Path) -> None:
    assert weights.missing_files(model_dir(tmp_path / "one")) == ()
    assert weights.missing_files(model_dir(tmp_path / "many", shards=3)) == ()


def test_missing_files_of_an_empty_folder(tmp_path: Path) -> None:
    assert weights.missing_files(tmp_path) == (
        "config.json (absent or not JSON)",
        "tokenizer.json (absent, and no other tokenizer)",
        "model.safetensors (absent, and no other weights)",
    )


def test_shards_that_are_absent_dangling_or_cut_short(tmp_path: Path) -> None:
    folder = model_dir(tmp_path / "m", shards=5)
    first, second, third, fourth, fifth = sorted(folder.glob("*.safetensors"))
    first.unlink()
    second.unlink()
    second.symlink_to(tmp_path / "blobs" / "gone")
    whole = third.stat().st_size
    third.write_bytes(third.read_bytes()[:-1])
    fourth.write_bytes(b"<!DOCTYPE html><html>")
    fifth.write_bytes(fifth.read_bytes()[:20])
    assert weights.missing_files(folder) == (
        "model-00001-of-00005.safetensors (absent)",
        "model-00002-of-00005.safetensors (absent)",
        f"model-00003-of-00005.safetensors (cut short: {whole - 1} of {whole} bytes)",
        "model-00004-of-00005.safetensors (not safetensors)",
        f"model-00005-of-00005.safetensors (cut short: 20 bytes, its header alone is {whole - 24})",
    )


def test_missing_files_of_old_weights_and_of_remote_code(tmp_path: Path) -> None:
    folder = model_dir(tmp_path / "m", config={"auto_map": {"AutoModel": "modeling_x.X", "AutoConfig": "o/r--c.C"}})
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert weights.missing_files(folder) == ("modeling_x.py (absent)",)
    (folder / "pytorch_model.bin").write_bytes(b"")
    (folder / "modeling_x.py").touch()
    assert weights.missing_files(folder) == ("pytorch_model.bin (empty)",)
    (folder / "pytorch_model.bin").unlink()
    (folder / "pytorch_model.bin.index.json").write_text("{")
    assert weights.missing_files(folder) == ("pytorch_model.bin.index.json (not JSON, or no weight_map)",)


def test_import_is_light() -> None:
    code = "import sys, alphaf_orch.inputs.presets; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
