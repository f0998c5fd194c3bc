"""DPO on two processes as it is launched for two GPUs, on a CPU: gloo in place of NCCL, everything else as there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dpo_twice
import pytest
import tiny
from dpo_job import PAIRS, make_config, write_config, write_pairs
from safetensors.torch import load_file

from alphaf_orch.core.command import PROGRAM_ENV, child_env
from alphaf_orch.planning.stages import Launch

pytestmark = pytest.mark.filterwarnings("ignore")

# `accelerate launch --cpu` starts one process whatever --num_processes says (its simple_launcher), so the ranks are
# started by the argv for GPUs and told of the CPU as accelerate tells its own children. The second variable makes the
# device `cpu`: accelerate's own `cpu:0` is a place that torch.load refuses when a checkpoint is resumed from.
ON_CPU = {"ACCELERATE_USE_CPU": "true", "ACCELERATE_TORCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
SETTINGS: dict[str, Any] = {
    "backend": "transformers",
    "load_in_4bit": False,
    "micro_batch_size": 2,
    "num_epochs": 2,
    "save_steps": 2,
    "probe": "probe/dpo.jsonl",
}


def launched(folder: Path) -> subprocess.CompletedProcess[str]:
    """Launch two ranks as a plan for two GPUs does: 4 steps of 2 x 2 x 2 pairs, then steps 3 and 4 again."""
    (folder / "again").mkdir()
    config = write_config(folder, gradient_accumulation_steps=2, **SETTINGS)
    resumed = write_config(folder / "again", gradient_accumulation_steps=2, **SETTINGS | {"output_dir": "resumed"})
    launch = Launch(2, 2, "no")
    accelerate = folder / "accelerate.yaml"
    accelerate.write_text(launch.config().text, encoding="utf-8")
    program = ("-m", "dpo_twice", str(config), "out/checkpoint-2", str(resumed))
    env = {**PROGRAM_ENV, **ON_CPU, "ALPHAF_METRICS": "metrics.jsonl", "ALPHAF_BATCHES": "batches.jsonl"}
    env["PYTHONPATH"] = os.pathsep.join((env["PYTHONPATH"], str(Path(dpo_twice.__file__).parent)))
    return subprocess.run(
        (*launch.argv(sys.executable, accelerate), *program),
        cwd=folder, env=child_env(env, online=False), capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two ranks have trained to the end."""
    folder = tmp_path_factory.mktemp("두 ranks")
    tiny.save_base(folder / "base")
    write_pairs(folder, PAIRS)
    done = launched(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_two_ranks_share_the_global_batch_and_one_of_them_writes(two_ranks: Path) -> None:
    state = json.loads((two_ranks / "out" / "trainer_state.json").read_text())
    assert (state["global_step"], state["max_steps"]) == (4, 4)  # 16 pairs, twice, by 8
    metrics = lines(two_ranks / "metrics.jsonl")
    assert [(line["step"], line["world_size"]) for line in metrics if "loss" in line] == [(n, 2) for n in range(1, 5)]
    assert sum("train_runtime" in line and "loss" not in line for line in metrics) == 1
    assert [line["step"] for line in lines(two_ranks / "batches.jsonl")[1:]] == [1, 2, 3, 4]
    assert len(lines(two_ranks / "probe" / "dpo.jsonl")) == 8
    checkpoint = {path.name for path in (two_ranks / "out" / "checkpoint-2").iterdir()}
    assert {"optimizer.pt", "rng_state_0.pth", "rng_state_1.pth", "alphaf_checksums.json"} <= checkpoint
    left = [path.name for path in (two_ranks / "out").iterdir() if path.name.startswith(".")]
    assert left == []


def test_what_children_are_told_reaches_every_rank(two_ranks: Path) -> None:
    """Of training and of lm-eval on several GPUs: accelerate's launcher stands between `alphaf` and both."""
    told = {path.name: path.read_text() for path in two_ranks.glob("rank_*.txt")}
    assert told == {"rank_0.txt": "1", "rank_1.txt": "1"}


def test_two_ranks_train_what_one_process_trains(two_ranks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alphaf_orch.programs.training import dpo

    monkeypatch.chdir(two_ranks)
    config = make_config(two_ranks, gradient_accumulation_steps=4, **SETTINGS | {"output_dir": "one", "probe": None})
    dpo.train(config, None)
    one = load_file(two_ranks / "one" / "adapter_model.safetensors")
    two = load_file(two_ranks / "out" / "adapter_model.safetensors")
    assert one.keys() == two.keys()
    assert max(float(two[name].abs().max()) for name in two if "lora_B" in name) > 0.005
    assert all(bool((one[name] - two[name]).abs().max() < 1e-5) for name in one)


def test_two_ranks_resume_to_the_same_adapter(two_ranks: Path) -> None:
    assert [line["step"] for line in lines(two_ranks / "resumed.jsonl") if "loss" in line] == [3, 4]
    whole, resumed = (load_file(two_ranks / name / "adapter_model.safetensors") for name in ("out", "resumed"))
    assert whole.keys() == resumed.keys()
    assert all(bool((whole[name] == resumed[name]).all()) for name in whole)


def test_ranks_that_do_not_know_of_each_other_are_refused(two_ranks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What accelerate makes of ranks whose torch sees no GPU: each would train all rows and write the same files."""
    from alphaf_orch.programs.common import Failure
    from alphaf_orch.programs.training import dpo

    monkeypatch.chdir(two_ranks)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Failure, match="2 ranks were launched and this one knows of 1"):
        dpo.train(make_config(two_ranks, **SETTINGS | {"output_dir": "alone"}), None)
    assert not (two_ranks / "alone").exists()
