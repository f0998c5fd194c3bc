"""The program that looks at tokenizers before a question is asked: which one each model gets, and what it refuses."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from eval_run import SYSTEM

from alphaf_orch.programs.common import Failure

pytest.importorskip("transformers", reason="transformers is not installed in this environment")
CHATML = ["<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"]


def save(folder: Path, *, chatml: bool = True, added: tuple[str, ...] = (), rows: int | None = None) -> Path:
    """Save a tokenizer with the config of a model that has a row for each of its tokens."""
    import tiny

    made = tiny.tokenizer(chatml=chatml)
    made.add_tokens(list(added))
    made.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": rows or len(made)}))
    return folder


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    return importlib.import_module("alphaf_orch.programs.evaluation.eval_tokenizer")


@pytest.fixture
def look(program: Any, tmp_path: Path) -> Any:
    def call(base: Path, sft: Path | None, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = program.run(config(tmp_path, base, sft, **more))
        written = json.loads((tmp_path / "말.json").read_text(encoding="utf-8"))
        assert written == found
        return dict(found["stages"])

    return call


def config(tmp_path: Path, base: Path, sft: Path | None, dpo: Path | None = None, **setup: Any) -> dict[str, Any]:
    stages = (("base", base), ("sft", sft), ("dpo", dpo))
    return {
        "reference": str(sft) if sft else None,
        "models": [{"stage": stage, "path": str(path), "revision": None} for stage, path in stages if path],
        "systems": [SYSTEM],
        "prepared": str(tmp_path / "준비"),
        "trust_remote_code": False,
        "output": str(tmp_path / "말.json"),
        **setup,
    }


def test_all_models_get_the_trained_tokenizer(look, tmp_path):
    from transformers import AutoTokenizer

    base, sft, dpo = (save(tmp_path / name) for name in ("base", "sft", "dpo"))
    (base / "chat_template.jinja").write_text("the base model's own")
    found = look(base, sft, dpo=dpo)
    assert [found[stage]["tokenizer"] for stage in found] == [str(tmp_path / "준비"), str(sft), str(sft)]
    assert len({found[stage]["chat_template_sha256"] for stage in found}) == 1
    assert {json.dumps(found[stage]["eos"]) for stage in found} == {'["<|im_end|>", 4]'}
    assert all(found[stage]["warnings"] == [] for stage in found)
    assert found["sft"]["with_system"] == CHATML
    assert found["sft"]["without_system"] == ["", "<|im_start|>user\n", CHATML[2]]
    trained = AutoTokenizer.from_pretrained(sft)
    prepared = AutoTokenizer.from_pretrained(tmp_path / "준비")
    assert prepared.chat_template == trained.chat_template
    assert prepared.get_vocab() == trained.get_vocab()


def test_tokens_that_training_added_leave_the_base_its_own_tokenizer(look, tmp_path):
    from transformers import AutoTokenizer

    base, sft = save(tmp_path / "base", chatml=False), save(tmp_path / "sft", added=("<|근거|>",))
    found = look(base, sft)
    (warning,) = found["base"]["warnings"]
    assert "<|im_end|>, <|im_start|>" in warning
    assert "<|근거|>" in warning
    assert found["base"]["chat_template_sha256"] == found["sft"]["chat_template_sha256"]
    assert (found["base"]["eos"][0], found["sft"]["eos"][0]) == ("</s>", "<|im_end|>")
    prepared = AutoTokenizer.from_pretrained(tmp_path / "준비")
    assert "<|근거|>" not in prepared.get_vocab()
    assert prepared.chat_template == AutoTokenizer.from_pretrained(sft).chat_template
    assert found["sft"]["warnings"] == []


def test_a_base_with_spare_rows_gets_the_added_tokens_too(look, tmp_path):
    base, sft = save(tmp_path / "base", rows=512), save(tmp_path / "sft", added=("<|근거|>",), rows=512)
    found = look(base, sft)
    assert found["base"]["warnings"] == []
    assert found["base"]["tokens"] == found["sft"]["tokens"]


def test_a_trained_model_with_another_template_is_refused(look, program, tmp_path):
    base, sft, dpo = (save(tmp_path / name) for name in ("base", "sft", "dpo"))
    template = dpo / "chat_template.jinja"
    template.write_text(template.read_text() + "{# another #}")
    with pytest.raises(Failure) as failure:
        look(base, sft, dpo=dpo)
    assert failure.value.code == 8
    assert "the dpo model has another chat template than training used" in failure.value.message
    template.unlink()
    assert look(base, sft, dpo=dpo)["dpo"]["warnings"] == [
        "the dpo model has no chat template of its own; it was asked with the trained one"
    ]


def test_a_trained_model_with_another_vocabulary_is_refused(tmp_path):
    """As the orchestrator runs it: three facts on stderr, exit code 8, and no report."""
    base, sft, dpo = save(tmp_path / "base"), save(tmp_path / "sft"), save(tmp_path / "dpo", chatml=False)
    file = tmp_path / "설정.yaml"
    file.write_text(yaml.safe_dump(config(tmp_path, base, sft, dpo), allow_unicode=True), encoding="utf-8")
    argv = [sys.executable, "-m", "alphaf_orch.programs.evaluation.eval_tokenizer", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    first, where, following, code = done.stderr.splitlines()[-4:]
    assert first.startswith("error: the dpo model has another vocabulary than the trained one: ")
    assert where == f"  where: {dpo}"
    assert following.startswith("  next:  ") and code == "  code:  contract.other_vocabulary"
    assert not (tmp_path / "말.json").exists()


def test_fewer_rows_than_tokens_are_refused(look, program, tmp_path):
    base, sft = save(tmp_path / "base"), save(tmp_path / "sft", rows=100)
    with pytest.raises(Failure) as failure:
        look(base, sft)
    assert failure.value.code == 8
    assert "the sft model has 100 embedding rows for" in failure.value.message


def test_a_text_that_becomes_other_tokens_than_training_had_is_refused(program, tmp_path):
    import tiny

    one, other = tiny.tokenizer(), tiny.tokenizer()
    program.check_ids(one, other, [SYSTEM], "sft")
    other.chat_template = "<s>" + other.chat_template
    with pytest.raises(Failure) as failure:
        program.check_ids(one, other, [SYSTEM], "sft")
    assert "the sft model would be asked with" in failure.value.message


def test_before_any_training_the_preset_says_how_the_base_is_asked(look, tmp_path):
    found = look(
        save(tmp_path / "base"),
        None,
        chat_template=None,
        added_tokens=[],
        special_tokens={"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": None},
    )
    assert found["base"]["eos"] == ["<|im_end|>", 4]
    assert found["base"]["with_system"] == CHATML


def test_a_template_without_room_for_a_system_text_is_known_as_such(look, tmp_path):
    base, sft = save(tmp_path / "base"), save(tmp_path / "sft")
    (sft / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "[{{ m.content | trim }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    found = look(base, sft)
    assert found["sft"]["with_system"] is None
    assert found["sft"]["without_system"] == ["", "[", "]>"]


def test_a_model_without_template_or_tokenizer_is_named(look, program, tmp_path):
    base, sft = save(tmp_path / "base"), save(tmp_path / "sft")
    (sft / "chat_template.jinja").unlink()
    with pytest.raises(Failure) as failure:
        look(base, sft)
    assert "the trained model has no chat template" in failure.value.message
    with pytest.raises(Failure) as failure:
        look(base, tmp_path / "없음")
    assert "cannot load the tokenizer" in failure.value.message
