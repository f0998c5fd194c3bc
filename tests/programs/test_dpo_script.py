"""The DPO child program: its config, its use of TRL and unsloth, and real runs on a tiny model."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2
import pytest
import tiny
import yaml

from alphaf_orch.core.paths import PROGRAMS
from alphaf_orch.programs.dpo_config import DpoConfig, DpoError, load_config
from alphaf_orch.programs.tracker_keys import KEYS
from alphaf_orch.programs.training.dpo_data import TokenReport, check_report, load_preferences, token_ids, token_report
from alphaf_orch.programs.training.dpo_model import trainer_arguments, unsloth_load, unsloth_lora

ROOT = Path(__file__).resolve().parents[2]


real = pytest.mark.real
quiet = pytest.mark.filterwarnings("ignore")
SETTINGS: dict[str, Any] = {
    "base_model": "base",
    "output_dir": "out",
    "datasets": [{"path": "pairs.jsonl", "kind": "local", "split": None, "revision": None}],
    "backend": "auto",
    "load_in_4bit": True,
    "bf16": False,
    "trust_remote_code": False,
    "sequence_len": 256,
    "beta": 0.1,
    "loss_type": "sigmoid",
    "learning_rate": 5.0e-3,
    "lr_scheduler": "cosine",
    "warmup_ratio": 0.1,
    "num_epochs": 1,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "optimizer": "adamw_torch",
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1.0e-8,
    "lora_r": 8,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "gradient_checkpointing": False,
    "val_set_size": 0.0,
    "seed": 42,
    "logging_steps": 1,
    "save_steps": 4,
    "save_total_limit": 2,
    "max_steps": None,
    "eval_steps": None,
    "dataset_num_proc": None,
    "probe": None,
}


def pair(question: str, chosen: str, rejected: str, *, before: list[dict[str, str]] | None = None) -> dict[str, Any]:
    prompt = [*(before or []), {"role": "user", "content": question}]
    return {
        side: [*prompt, {"role": "assistant", "content": text}]
        for side, text in (("chosen", chosen), ("rejected", rejected))
    }


EARLIER = [
    {"role": "system", "content": "금융 상담원입니다."},
    {"role": "user", "content": "예금자보호 한도는?"},
    {"role": "assistant", "content": "금융회사별로 적용됩니다."},
]
PAIRS = [
    *(pair(f"기준금리 {i}은 누가 정하나요?", f"한국은행이 정합니다 {i}.", "I don't know.") for i in range(8)),
    *(pair(f"왜요 {i}?", "예금자를 지키려는 것입니다.", "모릅니다.", before=EARLIER) for i in range(8)),
]


def write_config(folder: Path, **changes: Any) -> Path:
    path = folder / "dpo.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | changes, allow_unicode=True), encoding="utf-8")
    return path


def write_pairs(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def make_config(folder: Path, **changes: Any) -> DpoConfig:
    return load_config(write_config(folder, **changes))


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
        ({"max_steps": 0}, "max_steps: 0: Input should be greater than or equal to 1"),
        ({"beta": float("nan")}, "beta: nan: Input should be a finite number"),
        ({"warmup_ratio": 1}, "warmup_ratio: 1: Input should be less than 1"),
        ({"lora_target_modules": "all-linear"}, "lora_target_modules: 'all-linear': Input should be a valid list"),
        ({"datasets": []}, "datasets: []: List should have at least 1 item after validation, not 0"),
        ({"datasets": [{"path": "x", "kind": "hub", "typ": 1}]}, "datasets.0.typ: unknown key"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = write_config(tmp_path, **change)
    with pytest.raises(DpoError) as raised:
        load_config(path)
    assert str(raised.value) == (
        f"error: the DPO config cannot be used: {problem}\n  where: {path}\n  next:  mend the recipe (dpo.yaml)"
    )
    assert raised.value.exit_code == 2


def test_a_missing_setting_is_named_and_only_nullable_ones_may_lack(tmp_path: Path) -> None:
    nullable = {"max_steps", "eval_steps", "dataset_num_proc", "probe"}
    for key in SETTINGS:
        path = tmp_path / f"{key}.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in SETTINGS.items() if k != key}), encoding="utf-8")
        if key in nullable:
            assert load_config(path) == make_config(tmp_path)
        else:
            with pytest.raises(DpoError, match=f"{key}: missing key"):
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
    with pytest.raises(DpoError) as raised:
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
    with pytest.raises(DpoError, match=what):
        check_report(report, 64)


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


@real
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


@real
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


@real
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


@real
@quiet
def test_a_template_with_bos_writes_it_once(trained_like_unsloth: Any) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    pairs = trained_like_unsloth[2]
    assert {token_ids(tokenizer, p["prompt"] + p["chosen"]).count(tokenizer.bos_token_id) for p in pairs} == {1}
    assert token_report(tokenizer, pairs, 200).unstable == 0
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\\n", "assistant:\\n")
    assert token_report(tokenizer, pairs, 200).unstable == len(pairs)


@real
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


@real
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


@real
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


@real
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


@real
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
    assert errors.splitlines()[-3:] == [
        "error: DPO was stopped by SIGTERM",
        "  where: out",
        "  next:  run again: it resumes from the newest whole checkpoint",
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


@real
def test_an_unusable_config_ends_before_anything_is_loaded(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run(tmp_path, lora_rank=8)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the DPO config cannot be used: lora_rank: unknown key\n"
        f"  where: {tmp_path / 'dpo.yaml'}\n  next:  mend the recipe (dpo.yaml)\n"
    )
    assert time.monotonic() - started < 5


@real
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
    with pytest.raises(DpoError, match=what):
        dpo.train(make_config(whole_run, **{"output_dir": "refused"} | change), None)
    assert not (whole_run / "refused" / "trainer_state.json").exists()
    assert not (whole_run / "refused" / "adapter_model.safetensors").exists()
