"""A model folder's files: which weights are loaded, their headers, vocabulary and special tokens."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from alphaf_orch.core.errors import ModelError
from alphaf_orch.inputs.chat_templates import template_of
from alphaf_orch.inputs.model_files import (
    added_tokens,
    file_problem,
    loaded_file,
    read_tensors,
    read_vocabulary,
    safetensors_files,
    special_tokens,
)
from alphaf_orch.inputs.safetensors_header import read_header
from alphaf_orch.inputs.weights import missing_files, weights_problem
from alphaf_orch.planning.merge_checks import read_facts

TOKENS = ["<unk>", "<a>", "<b>", "<c>", "x"]
LISTED = {"added_tokens_decoder": {"1": {"content": "<a>", "special": True}}}
# tokenizer_config.json, special_tokens_map.json, and what AutoTokenizer makes of the two.
NAMED: list[tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = [
    ({"eos_token": "<a>"}, {"eos_token": {"content": "<b>"}}, {"eos_token": "<b>"}),
    ({"eos_token": "<a>", "pad_token": "<c>"}, {"eos_token": "<b>", "pad_token": None}, {"eos_token": "<b>"}),
    ({"eos_token": None}, {"eos_token": "<b>", "cls_token": "<c>"}, {"eos_token": "<b>", "cls_token": "<c>"}),
    ({"eos_token": "<a>", **LISTED}, {"eos_token": "<b>", "pad_token": "<c>"}, {"eos_token": "<a>"}),
]


def safetensors(path: Path, size: int = 16, name: str = "w") -> None:
    header = json.dumps({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))


def tokenizer(folder: Path, config: dict[str, Any], apart: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    model = {"type": "WordLevel", "vocab": {token: number for number, token in enumerate(TOKENS)}, "unk_token": "<unk>"}
    parts = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", **parts, "added_tokens": [], "model": model}))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps(apart))
    return folder


@pytest.mark.parametrize(("config", "apart", "named"), NAMED)
def test_special_tokens_that_two_files_name(tmp_path: Path, config, apart, named) -> None:
    folder = tokenizer(tmp_path / "m", config, apart)
    assert special_tokens(folder) == named
    template = template_of({"chat_template": "chatml"}, folder)
    assert template is not None
    assert template.eos == named["eos_token"]


@pytest.mark.real
def test_special_tokens_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    for number, (config, apart, named) in enumerate(NAMED):
        folder = tokenizer(tmp_path / str(number), config, apart)
        assert transformers.AutoTokenizer.from_pretrained(folder).special_tokens_map == named


def test_one_file_of_weights_wins_over_an_index_and_safetensors_over_pickles(tmp_path: Path) -> None:
    assert loaded_file(tmp_path) is None
    for name in (
        "pytorch_model.bin.index.json", "pytorch_model.bin", "model.safetensors.index.json", "model.safetensors",
    ):  # fmt: skip
        (tmp_path / name).touch()
        assert loaded_file(tmp_path) == tmp_path / name


@pytest.mark.real
def test_weights_are_those_that_transformers_loads(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=64, num_key_value_heads=1, **shape))

    def marked(value: float, folder: Path, **options: Any) -> Path:
        model.lm_head.weight.data.fill_(value)
        model.save_pretrained(folder, **options)
        return folder

    folder = marked(1.0, tmp_path / "m", max_shard_size="1KB")
    for name in ("model.safetensors.index.json", "model.safetensors"):
        if name == "model.safetensors":
            (marked(2.0, tmp_path / "one") / name).rename(folder / name)
        assert loaded_file(folder) == folder / name
        found = transformers.AutoModelForCausalLM.from_pretrained(folder).lm_head.weight[0, 0].item()
        assert found == (2.0 if name == "model.safetensors" else 1.0)


def test_what_is_left_of_an_older_index_is_not_the_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"v": "gone.safetensors"}}))
    assert missing_files(tmp_path) == ("gone.safetensors (absent)",)
    assert weights_problem(tmp_path) == f"{tmp_path / 'gone.safetensors'}: absent"
    safetensors(tmp_path / "model.safetensors")
    safetensors(tmp_path / "consolidated.safetensors", name="other")
    assert missing_files(tmp_path) == ()
    assert weights_problem(tmp_path) is None
    assert safetensors_files(tmp_path) == [tmp_path / "model.safetensors"]
    assert read_facts(tmp_path).shapes == {"w": (16,)}


def test_an_adapters_weights_have_a_name_of_their_own(tmp_path: Path) -> None:
    assert weights_problem(tmp_path) == f"{tmp_path} holds no safetensors file"
    safetensors(tmp_path / "adapter_model.safetensors")
    assert safetensors_files(tmp_path) == [tmp_path / "adapter_model.safetensors"]
    assert weights_problem(tmp_path) is None
    (tmp_path / "model.safetensors.index.json").write_text("{")
    assert weights_problem(tmp_path) == f"{tmp_path / 'model.safetensors.index.json'} is cut off"


def test_a_header_is_read_once_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    safetensors(file)
    times = file.stat()
    assert read_tensors(file) == {"w": ("U8", (16,))}
    safetensors(file, name="v")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert list(read_tensors(file)) == ["w"]
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert list(read_tensors(file)) == ["v"]
    read = read_header.cache_info().misses
    assert (file_problem(file), weights_problem(tmp_path)) == (None, None)
    assert read_header.cache_info().misses == read


def test_weights_whose_header_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"<!DOCTYPE html><html>")
    for _ in range(2):
        with pytest.raises(ModelError, match="the weights cannot be read"):
            read_tensors(file)
        file.unlink(missing_ok=True)


def test_the_vocabulary_has_the_added_tokens_of_all_files(tmp_path: Path) -> None:
    assert read_vocabulary(tmp_path) is None
    (tmp_path / "added_tokens.json").write_text('{"<d>": 9}')
    assert (read_vocabulary(tmp_path), added_tokens(tmp_path)) == (None, {"<d>": 9})
    folder = tokenizer(tmp_path / "m", LISTED, {})
    (folder / "added_tokens.json").write_text('{"<d>": 9}')
    assert added_tokens(folder) == {"<a>": 1, "<d>": 9}
    assert read_vocabulary(folder) == {**{token: n for n, token in enumerate(TOKENS)}, "<d>": 9}
