"""The DPO child program: its config, its use of TRL and unsloth, and real runs on a tiny model."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from dpo_job import EARLIER, PAIRS, SETTINGS, make_config, pair, write_config, write_pairs

from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.dpo_config import DpoConfig, load_config
from alphaf_orch.programs.tracker_keys import KEYS
from alphaf_orch.programs.training.dpo_data import TokenReport, check_report, load_preferences
from alphaf_orch.programs.training.dpo_model import unsloth_load, unsloth_lora

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lora_rank": 8}, "lora_rank: unknown key"),
        (
            {"learning_rate": "5e-6"},
            "learning_rate: '5e-6': Input should be a valid number (YAML reads this as a text: write numbers as"
            " 5.0e-6, without quotes)",
        ),
        ({"bf16": "yes please"}, "bf16: 'yes please': Input should be a valid boolean"),
        ({"load_in_4bit": 1}, "load_in_4bit: 1: Input should be a valid boolean"),
        ({"micro_batch_size": True}, "micro_batch_size: True: Input should be a valid integer"),
        ({"lora_r": 0}, "lora_r: 0: Input should be greater than or equal to 1"),
        ({"beta": float("nan")}, "beta: nan: Input should be a finite number"),
        ({"warmup_ratio": 1}, "warmup_ratio: 1: Input should be less than 1"),
        ({"lora_target_modules": "all-linear"}, "lora_target_modules: 'all-linear': Input should be a valid list"),
        ({"datasets": []}, "datasets: []: List should have at least 1 item after validation, not 0"),
        ({"datasets": [{"path": "x", "kind": "hub", "typ": 1}]}, "datasets.0.typ: unknown key"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = write_config(tmp_path, **change)
    with pytest.raises(Failure) as raised:
        load_config(path)
    assert str(raised.value) == (
        f"error: the DPO config cannot be used: {problem}\n  where: {path}\n  next:  mend the recipe (dpo.yaml)"
    )
    assert raised.value.code == 2


def test_a_missing_setting_is_named_and_only_nullable_ones_may_lack(tmp_path: Path) -> None:
    nullable = {"max_steps", "eval_steps", "dataset_num_proc", "probe"}
    for key in SETTINGS:
        path = tmp_path / f"{key}.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in SETTINGS.items() if k != key}), encoding="utf-8")
        if key in nullable:
            assert load_config(path) == make_config(tmp_path)
        else:
            with pytest.raises(Failure, match=f"{key}: missing key"):
                load_config(path)


def test_the_template_sets_every_key_and_gives_every_source(tmp_path: Path) -> None:
    text = (ROOT / "templates" / "dpo" / "dpo.yaml.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["yaml"] = json.dumps  # JSON is YAML
    rendered = environment.from_string(text).render(
        base_model="merged",
        output_dir="out",
        datasets=[{"path": "a.jsonl", "kind": "local", "split": None, "revision": None}],
        probe="probe.jsonl",
        trust_remote_code=False,
    )
    path = tmp_path / "dpo.yaml"
    path.write_text(rendered, encoding="utf-8")
    config = load_config(path)
    assert set(yaml.safe_load(rendered)) == {field.name for field in fields(DpoConfig)} - set(KEYS)
    assert (config.beta, config.learning_rate, config.num_epochs, config.lora_r) == (0.05, 5e-6, 2.0, 128)
    unsourced = [line for line in text.splitlines() if not line.startswith("#") and " # " not in line]
    assert unsourced == ["output_dir: {{ output_dir | yaml }}"]


def test_only_the_last_turn_is_the_answer(tmp_path: Path) -> None:
    write_pairs(tmp_path, PAIRS[-1:])
    config = make_config(tmp_path, datasets=[{"path": str(tmp_path / "pairs.jsonl"), "kind": "local"}])
    assert load_preferences(config.datasets) == [
        {
            "prompt": [*EARLIER, {"role": "user", "content": "왜요 7?"}],
            "chosen": [{"role": "assistant", "content": "예금자를 지키려는 것입니다."}],
            "rejected": [{"role": "assistant", "content": "모릅니다."}],
        }
    ]


def test_a_broken_row_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_pairs(tmp_path, [PAIRS[0], pair("왜요?", "같은 답", "같은 답")])
    config = make_config(tmp_path, datasets=[{"path": str(path), "kind": "local"}])
    with pytest.raises(Failure) as raised:
        load_preferences(config.datasets)
    assert str(raised.value) == (
        "error: rejected is the same text as 'chosen': no preference can be learnt from it\n"
        f"  where: {path} line 2\n  next:  mend or remove the row"
    )


@pytest.mark.parametrize(
    ("report", "warnings"),
    [
        (TokenReport(100, 5, 5, 0, 0), []),
        (
            TokenReport(100, 8, 3, 1, 2, 3),
            [
                "11 of 100 preference rows at sequence_len 64 (11%) are too long: 8 lose the end of an answer, 3 are"
                " left out; raise sequence_len or shorten the data",
                "in 3 of 100 preference rows at sequence_len 64 both answers are the same once cut: they teach nothing",
                "1 rows are tokenised otherwise across the prompt's end (leading blanks?)",
                "2 rows: the chat template does not end the answer with a token of its own or eos, so the model is not"
                " taught to stop there",
            ],
        ),
    ],
)
def test_lost_tokens_are_warned_about(report: TokenReport, warnings: list[str]) -> None:
    assert check_report(report, 64) == warnings


@pytest.mark.parametrize(
    ("report", "what"),
    [
        (TokenReport(10, 0, 10, 0, 0), "no row fits"),
        (TokenReport(10, 9, 1, 0, 0), "no row fits"),
        (TokenReport(100, 0, 0, 2, 0), "does not continue its own prompt"),
        (TokenReport(10, 5, 1, 0, 0, 5), "in 5 of 9 rows both answers are the same once cut"),
    ],
)
def test_hopeless_rows_are_refused(report: TokenReport, what: str) -> None:
    with pytest.raises(Failure, match=what):
        check_report(report, 64)


def test_unsloth_knows_every_keyword(tmp_path: Path) -> None:
    record = json.loads((Path(__file__).parents[1] / "records" / "unsloth.json").read_text(encoding="utf-8"))
    config = make_config(tmp_path)
    load = set(unsloth_load(config, "bfloat16", "cuda:1", distributed=True))
    assert load - set(record["calls"]["FastLanguageModel.from_pretrained"]) == set()
    assert set(unsloth_lora(config)) - set(record["calls"]["FastLlamaModel.get_peft_model"]) == set()


def test_the_recorded_unsloth_is_the_pinned_one() -> None:
    root = Path(__file__).parents[2]
    record = json.loads((root / "tests" / "records" / "unsloth.json").read_text(encoding="utf-8"))
    pins = (root / "requirements" / "gpu.lock").read_text(encoding="utf-8").splitlines()
    assert f"unsloth=={record['unsloth']}" in [line.split()[0] for line in pins if line.startswith("unsloth==")]


def test_the_record_matches_an_installed_unsloth() -> None:
    spec = importlib.util.find_spec("unsloth")
    if spec is None or spec.origin is None:
        pytest.skip("unsloth is not installed (GPU extra): its recorded signatures were checked instead")
    script = Path(__file__).parents[2] / "tools" / "record_unsloth_signatures.py"
    folder = Path(spec.origin).parent.parent
    assert subprocess.run([sys.executable, str(script), str(folder), "--check"], check=False).returncode == 0
