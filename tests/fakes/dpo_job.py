"""A config of the DPO program and the pairs that it trains on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from alphaf_orch.programs.dpo_config import DpoConfig, load_config

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
