"""DPO as TRL itself trains it on a tiny model."""

from __future__ import annotations

import ast
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from dpo_job import PAIRS, make_config, pair, write_config, write_pairs

from alphaf_orch.core.paths import PROGRAMS
from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.training.dpo_data import TokenReport, load_preferences, token_ids, token_report
from alphaf_orch.programs.training.dpo_model import trainer_arguments

quiet = pytest.mark.filterwarnings("ignore")


def keywords(tree: ast.AST, function: str) -> set[str]:
    """Return the parameter names of a class's method or of a call, by the source alone."""
    owner, _, name = function.rpartition(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == owner:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == name:
                    return {a.arg for a in (*part.args.args, *part.args.kwonlyargs)}
        if not owner and isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            return {keyword.arg for keyword in node.keywords if keyword.arg}
    raise AssertionError(f"{function} not found")


@quiet
def test_trl_knows_every_keyword(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trl not installed")
    from trl import DPOConfig, DPOTrainer

    given = trainer_arguments(make_config(tmp_path, output_dir=str(tmp_path / "o")), "transformers", "torch.float32")
    assert set(given) - set(inspect.signature(DPOConfig).parameters) == set()
    called = keywords(ast.parse((PROGRAMS / "training" / "dpo.py").read_text(encoding="utf-8")), "DPOTrainer")
    assert called - set(inspect.signature(DPOTrainer).parameters) == set()
    made = DPOConfig(**given)
    # The ratio must not become "0 steps", nor a zero dropout a request for dropout.
    assert (made.get_warmup_steps(100), made.disable_dropout, made.bf16) == (10, True, False)


@pytest.fixture(scope="module")
def trained_like_unsloth(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A TRL trainer over an already wrapped model, as unsloth gives one, at a length that cuts some rows."""
    pytest.importorskip("trl", reason="trl not installed")
    from datasets import Dataset
    from peft import get_peft_model
    from trl import DPOConfig, DPOTrainer

    from alphaf_orch.programs.training.dpo_model import load_model, settle_adapters

    folder = tmp_path_factory.mktemp("trainer")
    tiny.save_base(folder / "base")
    rows = [
        *PAIRS,
        pair("긴 질문" * 60, "답", "모름"),
        pair("질문", "긴 답변 " * 60, "모름"),
        pair("질문", "긴 답변 " * 60 + "맞음", "긴 답변 " * 60 + "아님"),
    ]
    config = make_config(
        folder,
        base_model=str(folder / "base"),
        output_dir=str(folder / "out"),
        datasets=[{"path": str(write_pairs(folder, rows)), "kind": "local"}],
        sequence_len=200,
        max_steps=1,
    )
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    model, lora = load_model(config, "transformers", torch.float32, "cpu", distributed=False)
    pairs = load_preferences(config.datasets)
    trainer = DPOTrainer(
        model=get_peft_model(model, lora),
        args=DPOConfig(**trainer_arguments(config, "transformers", "torch.float32")),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
    )
    given = {name: p.dtype for name, p in trainer.model.named_parameters() if p.requires_grad}
    adapters = set(trainer.model.peft_config)
    settle_adapters(trainer.model)
    return trainer, tokenizer, pairs, given, adapters


@quiet
def test_rows_are_tokenised_as_the_whole_conversation(trained_like_unsloth: Any) -> None:
    trainer, tokenizer, pairs, *_ = trained_like_unsloth
    report = token_report(tokenizer, pairs, 200)
    assert report == TokenReport(rows=19, truncated=2, dropped=1, unstable=0, without_end=0, equal=1)
    cut = [trainer.data_collator([row])["input_ids"].tolist() for row in trainer.train_dataset]
    assert sum(chosen == rejected for chosen, rejected in cut) == report.equal
    assert len(trainer.train_dataset) == report.rows - report.dropped
    for row in trainer.train_dataset:
        for side in ("chosen", "rejected"):
            whole = token_ids(tokenizer, row["prompt"] + row[side])
            assert row["prompt_ids"] + row[f"{side}_ids"] == whole
            answer = tokenizer.encode(row[side][0]["content"] + tiny.IM_END + "\n", add_special_tokens=False)
            assert row[f"{side}_ids"] == answer  # no user turn, no role marker
            assert tokenizer.bos_token_id not in whole  # this template writes none


@quiet
def test_only_answers_carry_loss_and_padding_never_does(trained_like_unsloth: Any) -> None:
    trainer, tokenizer, *_ = trained_like_unsloth
    rows = list(trainer.train_dataset)
    batch = trainer.data_collator(rows)
    assert batch["input_ids"].shape == (2 * len(rows), 200)
    sides = [(row, side) for side in ("chosen_ids", "rejected_ids") for row in rows]
    for ids, seen, answered, (row, side) in zip(
        batch["input_ids"].tolist(),
        batch["attention_mask"].tolist(),
        batch["completion_mask"].tolist(),
        sides,
        strict=True,
    ):
        prompt, length = len(row["prompt_ids"]), min(200, len(row["prompt_ids"]) + len(row[side]))
        assert seen == [1] * length + [0] * (200 - length)
        assert answered == [0] * prompt + [1] * (length - prompt) + [0] * (200 - length)
        assert set(ids[length:]) <= {tokenizer.pad_token_id}
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


@quiet
def test_a_template_with_bos_writes_it_once(trained_like_unsloth: Any) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    pairs = trained_like_unsloth[2]
    assert {token_ids(tokenizer, p["prompt"] + p["chosen"]).count(tokenizer.bos_token_id) for p in pairs} == {1}
    assert token_report(tokenizer, pairs, 200).unstable == 0
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\\n", "assistant:\\n")
    assert token_report(tokenizer, pairs, 200).unstable == len(pairs)


@quiet
def test_a_wrapped_model_keeps_one_adapter_in_float32(trained_like_unsloth: Any) -> None:
    import torch

    trainer, _, _, given, adapters = trained_like_unsloth
    # What TRL does by itself; where this fails, settle_adapters may go.
    assert adapters == {"default", "ref"}
    assert set(given.values()) == {torch.bfloat16}
    assert set(trainer.model.peft_config) == {"default"}
    trainable = {name: p.dtype for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert trainable == dict.fromkeys(given, torch.float32)
    trainer.train()
    first = trainer.state.log_history[0]
    # Policy and reference are the same model before the first step: -log(sigmoid(0)).
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5)


def run(folder: Path, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    line = command(folder, *arguments, **changes)
    return subprocess.run(line, **running(folder), capture_output=True, check=False, timeout=280)


def command(folder: Path, *arguments: str, **changes: Any) -> list[str]:
    return [sys.executable, "-m", "alphaf_orch.programs.training.dpo", str(write_config(folder, **changes)), *arguments]


def running(folder: Path) -> dict[str, Any]:
    offline = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "ALPHAF_METRICS": str(folder / "metrics.jsonl"),
    }
    return {"cwd": folder, "env": os.environ | offline, "text": True}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the script has trained 48 QLoRA steps without a break."""
    pytest.importorskip("trl", reason="trl not installed")
    folder = tmp_path_factory.mktemp("whole run")
    tiny.save_base(folder / "base")
    write_pairs(folder, PAIRS)
    done = run(folder, num_epochs=6, probe="probe/dpo.jsonl")
    assert done.returncode == 0, done.stderr
    return folder


def adapter(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "out" / "adapter_model.safetensors"))


@quiet
def test_a_run_leaves_adapter_tokenizer_state_and_records(whole_run: Path) -> None:
    out = whole_run / "out"
    state = json.loads((out / "trainer_state.json").read_text())
    assert (state["global_step"], state["max_steps"]) == (48, 48)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "backend.json",
        "chat_template.jinja",
        "checkpoint-44",
        "checkpoint-48",
        "tokenizer.json",
        "tokenizer_config.json",
        "trainer_state.json",
    ]
    assert (out / "tokenizer.json").read_bytes() == (whole_run / "base" / "tokenizer.json").read_bytes()
    assert (out / "chat_template.jinja").read_text() == tiny.CHATML
    backend = json.loads((out / "backend.json").read_text())
    assert (backend["backend"], backend["device"], backend["dtype"]) == ("transformers", "cpu", "torch.float32")
    assert backend["data"] == {
        "rows": 16,
        "truncated": 0,
        "dropped": 0,
        "unstable": 0,
        "without_end": 0,
        "equal": 0,
    }
    assert {"trl", "torch", "peft"} <= set(backend["versions"])
    weights = adapter(whole_run)
    assert len(weights) == 2 * 2 * 7  # layers, A and B, linear modules
    assert all(bool(w.isfinite().all()) and float(w.abs().sum()) > 0 for w in weights.values())


@quiet
def test_the_probe_holds_what_was_trained(whole_run: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(whole_run / "out")
    lines = [json.loads(line) for line in (whole_run / "probe" / "dpo.jsonl").read_text().splitlines()]
    assert [line["messages"] for line in lines] == [row["chosen"] for row in PAIRS[:8]]
    assert [line["input_ids"] for line in lines] == [token_ids(tokenizer, row["chosen"]) for row in PAIRS[:8]]
    for line in lines:
        answer = len(token_ids(tokenizer, line["messages"][:-1], add_generation_prompt=True))
        assert line["labels"] == [-100] * answer + line["input_ids"][answer:]


@quiet
def test_metrics_hold_a_line_for_each_step(whole_run: Path) -> None:
    lines = [json.loads(line) for line in (whole_run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 49))
    expected = {"rewards/chosen", "rewards/margins", "rewards/accuracies", "learning_rate", "grad_norm", "epoch"}
    assert all(expected <= set(line) for line in steps)
    assert {(line["world_size"], line["max_steps"]) for line in lines} == {(1, 48)}
    assert all(line["tokens_per_s"] > 0 and line["peak_memory_mib"] > 100 for line in steps)
    # The pairs differ in an obvious way, so the tiny model must learn to tell them apart.
    assert steps[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert steps[-1]["loss"] < 0.5
    assert steps[-1]["rewards/accuracies"] == 1.0


@quiet
def test_a_stopped_run_looks_unfinished_and_resumes_to_the_same_adapter(whole_run: Path, tmp_path: Path) -> None:
    (tmp_path / "base").symlink_to(whole_run / "base")
    write_pairs(tmp_path, PAIRS)
    process = subprocess.Popen(
        command(tmp_path, num_epochs=6), **running(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/checkpoint-*/trainer_state.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert errors.splitlines()[-4:] == [
        "error: DPO was stopped by SIGTERM",
        "  where: out",
        "  next:  run again: it resumes from the newest whole checkpoint",
        "  code:  interrupt.stopped",
    ]
    out = tmp_path / "out"
    assert not (out / "trainer_state.json").exists() and not (out / "adapter_model.safetensors").exists()
    stopped_at = max(json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert stopped_at < 48

    checkpoints = sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    whole = [path for path in checkpoints if (path / "rng_state.pth").is_file()][-1]
    (tmp_path / "metrics.jsonl").unlink()
    done = run(tmp_path, "--resume_from_checkpoint", str(whole), num_epochs=6)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert (steps[0], steps[-1]) == (int(whole.name.split("-")[1]) + 1, 48)
    reference, resumed = adapter(whole_run), adapter(tmp_path)
    assert reference.keys() == resumed.keys()
    assert all(bool((reference[name] == resumed[name]).all()) for name in reference)


def test_an_unusable_config_ends_before_anything_is_loaded(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run(tmp_path, lora_rank=8)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the DPO config cannot be used: lora_rank: unknown key\n"
        f"  where: {tmp_path / 'dpo.yaml'}\n  next:  mend the recipe (dpo.yaml)\n  code:  config.wrong_value\n"
    )
    assert time.monotonic() - started < 5


@quiet
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"learning_rate": 1e30, "max_steps": 4}, "loss is nan at step"),
        ({"lora_target_modules": ["q_proj", "w1"]}, "the model has no modules named w1"),
        ({"backend": "unsloth"}, "unsloth cannot train without a CUDA GPU"),
        ({"bf16": True}, "bf16 needs a CUDA GPU"),
        ({"optimizer": "adamw_nope"}, "TRL rejects the settings"),
        ({"output_dir": "out"}, "output_dir already holds a finished training"),
        ({"base_model": "nowhere"}, "base_model is not a folder with a model"),
        ({"base_model": "plain"}, "the tokenizer has no chat template"),
        ({"val_set_size": 16}, "leaves none of 16 pairs"),
        ({"datasets": [{"path": "late.jsonl", "kind": "local"}]}, "in 3 of 4 rows both answers are the same once cut"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    whole_run: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], what: str
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("about a machine without CUDA")
    from alphaf_orch.programs.training import dpo

    monkeypatch.chdir(whole_run)
    late = [pair(f"{i}?", "긴 답변 " * 60 + "맞음", "긴 답변 " * 60 + "아님") for i in range(3)]
    write_pairs(whole_run, [PAIRS[0], *late]).rename(whole_run / "late.jsonl")
    write_pairs(whole_run, PAIRS)
    if change.get("base_model") == "plain":
        tiny.save_base(whole_run / "plain", chatml=False)
    with pytest.raises(Failure, match=what):
        dpo.train(make_config(whole_run, **{"output_dir": "refused"} | change), None)
    assert not (whole_run / "refused" / "trainer_state.json").exists()
    assert not (whole_run / "refused" / "adapter_model.safetensors").exists()
