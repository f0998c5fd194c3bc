"""The metrics callback: what a line holds, who writes it, and that axolotl really loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import yaml

from alphaf_orch.core.paths import CHILD

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("transformers", reason="transformers not installed")
    from alphaf_orch.programs.training import metrics_callback

    monkeypatch.setattr(metrics_callback, "peak_memory_mib", lambda: 512.0)
    monkeypatch.setattr(metrics_callback.time, "time", lambda: 1_700_000_000.5)
    return metrics_callback


def trainer_state(**values: Any) -> SimpleNamespace:
    state = {"is_world_process_zero": True, "global_step": 0, "max_steps": 9, "num_input_tokens_seen": 0}
    return SimpleNamespace(**state | values)


ARGS = SimpleNamespace(world_size=8, logging_nan_inf_filter=True)


def test_the_peak_of_a_step_outlives_what_sets_it_back_before_the_log(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("ALPHAF_METRICS", str(path))
    callback, state, now = module.MetricsCallback(), trainer_state(), [2000.0]
    monkeypatch.setattr(module, "peak_memory_mib", lambda: now[0])
    callback.on_train_begin(SimpleNamespace(**vars(ARGS)), state, None)
    for step, peak, left in ((1, 7800.0, 3400.0), (2, 7000.0, 3400.0)):
        state.global_step, now[0] = step, peak
        callback.on_step_end(ARGS, state, SimpleNamespace())
        now[0] = left  # axolotl's own log has read the peak and set it back
        callback.on_log(ARGS, state, None, logs={"loss": 1.0})
    now[0] = 9000.0
    callback.on_prediction_step(ARGS, state, None)
    now[0] = 3400.0
    callback.on_log(ARGS, state, None, logs={"eval_loss": 1.0})
    assert [json.loads(line)["peak_memory_mib"] for line in path.read_text().splitlines()] == [7800.0, 7800.0, 9000.0]


def test_a_line_holds_every_numeric_value_under_its_own_name(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([10.0, 10.0, 12.0, 13.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    path = tmp_path / "지표.jsonl"
    monkeypatch.setenv("ALPHAF_METRICS", str(path))
    callback = module.MetricsCallback()
    state = trainer_state(num_input_tokens_seen=1000)  # resumed: these were not trained now
    args = SimpleNamespace(**vars(ARGS))
    trained, frozen = SimpleNamespace(requires_grad=True), SimpleNamespace(requires_grad=False)
    trained.numel, frozen.numel = lambda: 700, lambda: 9
    model = SimpleNamespace(parameters=lambda: [trained, frozen])
    callback.on_train_begin(args, state, None, model=model)
    assert args.logging_nan_inf_filter is False
    assert capsys.readouterr().out == "training on 8 rank(s), 9 steps\n"

    state.global_step, state.num_input_tokens_seen = 5, 1600
    logs = {"loss": 0.5, "rewards/margins": 0.25, "epoch": 1, "note": "text"}
    callback.on_log(args, state, None, logs=logs)
    state.global_step = 6
    callback.on_log(args, state, None, logs={"eval_loss": float("nan"), "grad_norm": float("inf"), "ppl": 2.0})
    common = {
        "time": 1_700_000_000.5,
        "max_steps": 9,
        "world_size": 8,
        "peak_memory_mib": 512.0,
        "trainable_parameters": 700,
    }
    first = {"step": 5, "loss": 0.5, "rewards/margins": 0.25, "epoch": 1.0, "tokens_per_s": 300.0}
    second = {"step": 6, "eval_loss": None, "grad_norm": None, "ppl": 2.0, "non_finite": ["eval_loss", "grad_norm"]}
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [common | first, common | second]


def test_the_first_and_the_last_step_are_logged_and_half_a_line_is_not_written_on_behind(
    module: Any, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    callback = module.MetricsCallback(str(path))
    asked = []
    for step in (1, 2, 8, 9):
        control = SimpleNamespace(should_log=False)
        callback.on_step_end(ARGS, trainer_state(global_step=step), control)
        asked.append(control.should_log)
    assert asked == [True, False, False, True]
    finished = trainer_state(global_step=9)
    callback.on_train_begin(SimpleNamespace(**vars(ARGS)), finished)
    callback.on_log(ARGS, finished, logs={"train_loss": 0.0, "train_runtime": 0.1})  # resumed at its end: no step
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {"step": 1}
    assert (second["step"], second["world_size"]) == (9, 8)
    assert "train_loss" not in second


def test_only_the_main_process_writes_and_only_where_a_file_is_named(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    other = trainer_state(is_world_process_zero=False)
    callback = module.MetricsCallback(str(path))
    callback.on_train_begin(ARGS, other, None)
    callback.on_log(ARGS, other, None, logs={"loss": 1.0})
    monkeypatch.delenv("ALPHAF_METRICS", raising=False)
    module.MetricsCallback().on_log(ARGS, trainer_state(), None, logs={"loss": 1.0})
    assert (list(tmp_path.iterdir()), capsys.readouterr().out) == ([], "")


def test_tokens_are_axolotls_own_count_where_it_keeps_one(module: Any) -> None:
    assert module.tokens_seen(trainer_state(num_input_tokens_seen=7)) == 7
    assert module.tokens_seen(trainer_state(tokens={"total": 64.0, "trainable": 5.0})) == 64


def test_axolotl_loads_the_plugin_and_every_step_is_recorded(tmp_path: Path) -> None:
    pytest.importorskip("axolotl", reason="axolotl not installed")
    tiny.save_base(tmp_path / "base")
    rows = [
        {"messages": [{"role": "user", "content": f"질문 {i}?"}, {"role": "assistant", "content": f"답변 {i}."}]}
        for i in range(8)
    ]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(data, encoding="utf-8")
    config = {
        "base_model": str(tmp_path / "base"),
        "adapter": "lora",
        "lora_r": 4,
        "lora_alpha": 4,
        "lora_target_linear": True,
        "lora_mlp_kernel": False,
        "lora_qkv_kernel": False,
        "lora_o_kernel": False,
        "datasets": [{"path": str(tmp_path / "rows.jsonl"), "ds_type": "json", "type": "chat_template"}],
        "dataset_prepared_path": str(tmp_path / "prepared"),
        "sequence_len": 128,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "max_steps": 3,
        "learning_rate": 1.0e-3,
        "optimizer": "adamw_torch",
        "bf16": False,
        "tf32": False,
        "logging_steps": 1,
        "output_dir": str(tmp_path / "out"),
        "plugins": ["alphaf_orch.programs.training.axolotl_plugin.AlphafPlugin"],
    }
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    environment = {
        "PYTHONPATH": str(CHILD),
        "ALPHAF_METRICS": str(tmp_path / "metrics.jsonl"),
        "HF_HUB_OFFLINE": "1",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "axolotl.cli.train", str(tmp_path / "sft.yaml")],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "training on 1 rank(s), 3 steps" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [(line["step"], line["max_steps"], line["world_size"]) for line in steps] == [(n, 3, 1) for n in (1, 2, 3)]
    assert all(line["tokens_per_s"] > 0 and line["peak_memory_mib"] > 100 for line in steps)
    assert all({"learning_rate", "grad_norm", "epoch"} <= set(line) for line in steps)
