"""`alphaf models`: one bad preset takes no other down; `alphaf models add` writes one from a model's own files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from alphaf_orch.cli.schema import schema_text
from alphaf_orch.core.paths import template_folders
from alphaf_orch.inputs.presets import read_preset

SHIPPED = template_folders()[-1]
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
    "intermediate_size": 192, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}  # fmt: skip
CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def model(folder: Path, **config: Any) -> Path:
    """Write the files of a model of two layers, weights aside, as a maker would publish it."""
    folder.mkdir(parents=True)
    tokens = {"<s>": 1, "</s>": 2, "<|im_start|>": 3, "<|im_end|>": 4}
    added = [{"content": text, "id": number} for text, number in tokens.items()]
    files = {
        "config.json": {**CONFIG, **config},
        "generation_config.json": {"eos_token_id": [4, 2]},
        "tokenizer_config.json": {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "</s>",
                                  "chat_template": CHATML},
        "tokenizer.json": {"model": {"vocab": {**tokens, "가": 5}}, "added_tokens": added},
    }  # fmt: skip
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    card = "---\nlicense: apache-2.0\n---\n# 모델\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A templates folder of the user's, with a good preset and two bad ones."""
    folder = tmp_path / "내 템플릿"
    (folder / "models").mkdir(parents=True)
    tiny = (SHIPPED / "models" / "tiny.yaml").read_text(encoding="utf-8")
    (folder / "models" / "good.yaml").write_text(tiny.replace("name: tiny ", "name: good "), encoding="utf-8")
    (folder / "models" / "broken.yaml").write_text("a: [\n", encoding="utf-8")
    (folder / "models" / "wrong.yaml").write_text(
        tiny.replace("name: tiny ", "name: wrong ").replace("gpus: auto", "gpus: 0"), encoding="utf-8"
    )
    monkeypatch.setenv("ALPHAF_TEMPLATES", str(folder))
    return folder


def test_one_bad_preset_takes_no_other_down(alphaf: Any, mine: Path) -> None:
    shown = alphaf("models")
    assert shown.exit_code == 0, shown.output
    assert {"good", "tiny", "eeve"} <= set(shown.stdout.replace("│", " ").split())
    assert "broken cannot be read: model preset broken: not valid YAML" in shown.stderr
    assert f"  where: {mine}/models/broken.yaml line 2" in shown.stderr
    assert "wrong cannot be read: model preset wrong: gpus: Input should be greater than 0" in shown.stderr
    assert re.search(rf"  where: {re.escape(str(mine))}/models/wrong\.yaml line \d+", shown.stderr)
    found = json.loads(alphaf("models", "--json").stdout)
    assert "good" in [row["name"] for row in found["models"]]
    assert [(row["name"], row["where"].partition(" line ")[0]) for row in found["unreadable"]] == [
        ("broken", f"{mine}/models/broken.yaml"),
        ("wrong", f"{mine}/models/wrong.yaml"),
    ]
    refused = alphaf("plan", "--model", "wrong")
    assert refused.exit_code == 2
    assert "gpus: Input should be greater than 0" in refused.stderr


def test_models_add_writes_a_preset_that_loads_and_plans(alphaf: Any, tmp_path: Path, monkeypatch: Any) -> None:
    folder = model(tmp_path / "우리 모델 2B")
    made = alphaf("models", "add", str(folder), "--templates", "템플릿")
    assert made.exit_code == 0, made.output
    file = tmp_path / "템플릿" / "models" / "우리-모델-2B.yaml"
    text = file.read_text(encoding="utf-8")
    preset = read_preset(file)
    assert (preset.name, preset.source, preset.base_model) == ("우리-모델-2B", "local", str(folder))
    assert (preset.licence, preset.sequence_len, preset.chat_template) == ("apache-2.0", 2048, "chatml")
    assert preset.special_tokens.eos_token == "<|im_end|>"
    assert preset.architecture is not None
    assert (preset.architecture.layers, preset.architecture.context) == (2, 2048)
    # Every line has where it came from.
    assert [line for line in text.splitlines() if "# " not in line] == []
    assert "# weights: bfloat16 (config.json), model_type llama" in text
    assert "# answers end: <|im_end|> (4), </s> (2) (generation_config.json, eos_token_id)" in text
    assert "a turn ends in <|im_end|>; it takes a system turn" in text
    assert list(Draft202012Validator(json.loads(schema_text("preset"))).iter_errors(yaml.safe_load(text))) == []
    assert f"export ALPHAF_TEMPLATES={tmp_path}/템플릿" in made.stdout
    assert "alphaf plan --model 우리-모델-2B" in made.stdout
    monkeypatch.setenv("ALPHAF_TEMPLATES", str(tmp_path / "템플릿"))
    assert "우리-모델-2B" in alphaf("models").stdout
    planned = alphaf("plan", "--model", "우리-모델-2B", "--data", "sample", "--full")
    assert planned.exit_code == 0, planned.output
    assert str(folder) in planned.stdout


@pytest.mark.parametrize("words", [("models", "add", "--json"), ("models", "--json", "add")])
def test_models_add_says_as_json_what_it_wrote(alphaf: Any, tmp_path: Path, monkeypatch: Any, words: Any) -> None:
    call = (*words, str(model(tmp_path / "우리 모델")), "--templates", "내 템플릿")
    said = json.loads(alphaf(*call).stdout)
    file = tmp_path / "내 템플릿" / "models" / "우리-모델.yaml"
    assert (said["schema"], said["name"], said["file"]) == ("alphaf/models-add/1", read_preset(file).name, str(file))
    assert said["checks"][0] == "licence: README.md, license; check: it may have conditions"
    assert said["next"] == [f"export ALPHAF_TEMPLATES='{tmp_path}/내 템플릿'", "alphaf plan --model 우리-모델"]
    taken = json.loads(alphaf(*call).stdout)
    assert taken["error"]["code"] == "config.name_taken"
    monkeypatch.setenv("ALPHAF_TEMPLATES", str(tmp_path / "내 템플릿"))
    assert len(json.loads(alphaf(*call, "--name", "둘").stdout)["next"]) == 1


def test_nothing_is_overwritten_and_a_shipped_name_is_taken(alphaf: Any, tmp_path: Path) -> None:
    folder = model(tmp_path / "모델")
    assert alphaf("models", "add", str(folder), "--templates", "t", "--name", "하나").exit_code == 0
    before = (tmp_path / "t" / "models" / "하나.yaml").read_bytes()
    for name in ("하나", "eeve", "generic"):
        again = alphaf("models", "add", str(folder), "--templates", "t", "--name", name)
        assert again.exit_code == 2, again.output
        assert f"there is a preset {name}, and nothing is overwritten" in again.stderr
    assert (tmp_path / "t" / "models" / "하나.yaml").read_bytes() == before
    assert alphaf("models", "add", str(folder), "--templates", "t", "--name", "a/b").exit_code == 2
    assert alphaf("models", "add", str(folder)).exit_code == 2  # no templates folder is named
    assert alphaf("models", "add", "없는 폴더", "--templates", "t").exit_code == 4


def test_no_code_of_the_model_is_executed_and_none_of_its_texts_ends_a_comment(alphaf: Any, tmp_path: Path) -> None:
    folder = model(tmp_path / "모델", auto_map={"AutoModelForCausalLM": "m.M"}, torch_dtype="x\ngpus: 99")
    (folder / "m.py").write_text(f"open({str(tmp_path / 'HIT')!r}, 'w')\n", encoding="utf-8")
    made = alphaf("models", "add", str(folder), "--templates", "t")
    assert made.exit_code == 0, made.output
    preset = read_preset(tmp_path / "t" / "models" / "모델.yaml")
    assert preset.gpus == "auto"
    assert not (tmp_path / "HIT").exists()


def test_a_folder_that_is_no_model_is_refused(alphaf: Any, tmp_path: Path) -> None:
    folder = model(tmp_path / "모델")
    shutil.copytree(folder, tmp_path / "빈")
    (tmp_path / "빈" / "config.json").unlink()
    refused = alphaf("models", "add", "빈", "--templates", "t")
    assert refused.exit_code == 4
    assert "config.json" in refused.stderr
    assert not (tmp_path / "t").exists()
