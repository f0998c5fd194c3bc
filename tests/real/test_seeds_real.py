"""The same seed, the same training: first weights, first step and last weights; another seed, other ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import save_base

from alphaf_orch.core.paths import CHILD
from alphaf_orch.planning.context import PLUGIN

pytestmark = pytest.mark.filterwarnings("ignore")
LORA = {"lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.1}
MODULES = ["q_proj", "v_proj"]
# One process for several trainings, each of which pays the imports else; what one has drawn must not reach the next.
SFT = "import sys; from axolotl.cli.train import do_cli\nfor name in sys.argv[1:]: set_files(name); do_cli(name)"
DPO = (
    "import sys; from alphaf_orch.programs.training import dpo\n"
    "for name in sys.argv[1:]: set_files(name); dpo.main([name])"
)
SET_FILES = """
import os
def set_files(name):
    os.environ["ALPHAF_BATCHES"] = name + ".batches.jsonl"
    os.environ["ALPHAF_METRICS"] = name + ".metrics.jsonl"
"""


def train(program: str, *configs: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(CHILD), "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SET_FILES + program, *map(str, configs)], env=env, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]


def lines(config: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{config}.{kind}.jsonl").read_text(encoding="utf-8").splitlines()]


def weights(folder: Path) -> bytes:
    (file,) = folder.glob("adapter_model.safetensors")
    return file.read_bytes()


def agree(one: Path, other: Path) -> list[bool]:
    """Return whether first weights, the first step's figures, its batch and the last adapter are the same."""
    first, second = (next(row for row in lines(path, "metrics") if "loss" in row) for path in (one, other))
    ours, theirs = lines(one, "batches"), lines(other, "batches")
    adapters = [yaml.safe_load(path.read_text(encoding="utf-8"))["output_dir"] for path in (one, other)]
    return [
        ours[0].get("first_weights") == theirs[0].get("first_weights"),
        (first["loss"], first["grad_norm"]) == (second["loss"], second["grad_norm"]),
        ours[1]["ids"] == theirs[1]["ids"],
        weights(Path(adapters[0])) == weights(Path(adapters[1])),
    ]


def settings(tmp_path: Path, values: dict[str, Any], seed: int, number: int) -> Path:
    file = tmp_path / f"{seed}-{number}.yaml"
    own = {**values, "seed": seed, "output_dir": str(tmp_path / f"out-{seed}-{number}")}
    file.write_text(yaml.safe_dump(own, allow_unicode=True), encoding="utf-8")
    return file


def test_sft_of_one_seed_is_one_training(tmp_path):
    """Rows for two new tokens are drawn as well as the adapter."""
    rows = [
        [{"role": "user", "content": f"{i}번 예금의 만기는?"}, {"role": "assistant", "content": f"{i}년입니다"}]
        for i in range(24)
    ]
    data = tmp_path / "행.jsonl"
    data.write_text("".join(json.dumps({"messages": row}, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    values = {
        "base_model": str(save_base(tmp_path / "base")), "adapter": "lora", **LORA, "lora_target_modules": MODULES,
        "lora_modules_to_save": ["embed_tokens", "lm_head"], "tokens": ["<새 토큰>", "<또 하나>"],
        "datasets": [{"path": str(data), "ds_type": "json", "type": "chat_template", "message_property_mappings":
                      {"role": "role", "content": "content"}}],
        "plugins": [PLUGIN], "sequence_len": 128, "micro_batch_size": 2, "max_steps": 3,
        "gradient_accumulation_steps": 1, "learning_rate": 1e-3, "lr_scheduler": "constant", "optimizer": "adamw_torch",
        "bf16": False, "tf32": False, "logging_steps": 1, "save_steps": 3, "neftune_noise_alpha": 5,
        "dataset_prepared_path": str(tmp_path / "prepared"), "dataset_num_proc": 1, "val_set_size": 0.1,
        "num_epochs": 1,
    }  # fmt: skip
    one, other, third = (settings(tmp_path, values, *pair) for pair in ((42, 1), (43, 1), (42, 2)))
    train(SFT, one)
    train(SFT, other, third)
    assert agree(one, third) == [True] * 4
    assert agree(one, other) == [False] * 4
    assert lines(one, "batches")[0]["first_weights"]


def test_dpo_of_one_seed_is_one_training(tmp_path):
    pairs = [{"prompt": f"{i}번 금리는?", "chosen": f"연 {i}%입니다", "rejected": "모릅니다"} for i in range(24)]
    data = tmp_path / "쌍.jsonl"
    data.write_text("".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs), "utf-8")
    values = {
        "base_model": str(save_base(tmp_path / "base")), "datasets": [{"path": str(data), "kind": "local"}],
        "backend": "transformers", "load_in_4bit": False, "bf16": "auto", "trust_remote_code": False,
        "sequence_len": 128, "beta": 0.1, "loss_type": "sigmoid", "learning_rate": 1e-3, "lr_scheduler": "constant",
        "warmup_ratio": 0.0, "num_epochs": 1, "micro_batch_size": 2, "gradient_accumulation_steps": 1,
        "optimizer": "adamw_torch", "weight_decay": 0.0, "max_grad_norm": 1.0, "adam_beta1": 0.9, "adam_beta2": 0.999,
        "adam_epsilon": 1e-8, **LORA, "lora_target_modules": MODULES, "gradient_checkpointing": False,
        "val_set_size": 0, "logging_steps": 1, "save_steps": 3, "save_total_limit": 1, "max_steps": 3,
    }  # fmt: skip
    one, other, third = (settings(tmp_path, values, *pair) for pair in ((42, 1), (43, 1), (42, 2)))
    train(DPO, one, other, third)
    assert agree(one, third) == [True] * 4
    # The first loss is ln 2 whatever the adapter's weights are.
    assert agree(one, other)[0::2] == [False] * 2
    assert agree(one, other)[3] is False
