"""A real bake-off of the three architectures, small and random: one arm fails, then the same command mends it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

MODELS = ("tiny-eeve", "tiny-qwen", "tiny-orion")
COMMAND = (
    "bakeoff", "--models", ",".join(MODELS), "--name", "trio", "--task", "finance_ko_mcq", "--limit", "4",
    "--prompts", "1", "--set", "max_steps=2", "--parallel", "1",
)  # fmt: skip


def test_one_failed_arm_leaves_the_others_and_the_same_command_ends_it(
    alphaf, warm_python: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(warm_python))
    place = tmp_path / "cache" / "models" / "tiny-orion"
    place.mkdir(parents=True)
    (place / "config.json").write_text('{"model_type": "orion", "architectures": ["OrionForCausalLM"]}')
    root = tmp_path / "실행" / "trio"

    first = alphaf(*COMMAND)
    assert first.exit_code == 7 and "1 of 3 arms" in first.output
    said = (root / "report.en.md").read_text(encoding="utf-8")
    assert "What failed" in said and "not measured" in said
    ended = {arm["name"]: arm["state"] for arm in json.loads((root / "experiment.json").read_text())["arms"]}
    assert ended == {"tiny-eeve": "done", "tiny-qwen": "done", "tiny-orion": "failed"}
    for name in MODELS[:2]:
        assert (root / name / "eval" / "sft" / "general_ko_mcq.json").is_file()
        assert len((root / name / "answers" / "sft" / "bakeoff_ko.jsonl").read_text().splitlines()) == 1

    shutil.rmtree(place)
    weights = (root / "tiny-eeve" / "sft" / "merged" / "model.safetensors").stat().st_mtime_ns
    second = alphaf(*COMMAND)
    assert second.exit_code == 0, second.output
    said = (root / "report.en.md").read_text(encoding="utf-8")
    assert "What failed" not in said and "not measured" not in said
    facts = json.loads((root / "facts" / "native_support.json").read_text())["found"]
    answers = {
        name: {(a["library"], a["question"]): a["answer"] for a in each["answers"]}
        for name, each in facts["candidates"].items()
    }
    assert answers["tiny-eeve"]["transformers", "class"] == answers["tiny-qwen"]["transformers", "class"] == "yes"
    assert answers["tiny-orion"]["transformers", "class"] == answers["tiny-orion"]["mergekit", "definition"] == "own"
    assert answers["tiny-qwen"]["axolotl", "lora_kernels"] == "yes"
    assert answers["tiny-orion"]["axolotl", "lora_kernels"] == "no"
    tokens = json.loads((root / "facts" / "tokenizer_facts.json").read_text())["found"]["tokenizers"]
    assert all(0 < tokens[name]["tokens_per_syllable"] < 4 for name in MODELS)

    kept = (root / "facts" / "native_support.json").stat().st_mtime_ns
    third = alphaf(*COMMAND, "--weights", "versatility=3")
    assert third.exit_code == 0 and "× 3" in (root / "report.en.md").read_text(encoding="utf-8")
    assert (root / "facts" / "native_support.json").stat().st_mtime_ns == kept
    assert (root / "tiny-eeve" / "sft" / "merged" / "model.safetensors").stat().st_mtime_ns == weights
