"""Checkpoints of FSDP2, made by the Trainer in two processes, and of DeepSpeed; what full fine-tuning trains."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import harms
import pytest
import tiny
import two_ranks

from alphaf_orch.runs import checkpoints

pytestmark = pytest.mark.filterwarnings("ignore")
FULL, SHARDED, ZERO2, ZERO3 = "FULL_STATE_DICT", "SHARDED_STATE_DICT", "zero2", "zero3"


def deepspeed_checkpoint(folder: Path, step: int, *, stage: int) -> None:
    """Write what DeepSpeed 0.18.9 does under transformers (runtime/engine.py:4035, :4200); not made by the tool."""
    import torch

    place = folder / f"checkpoint-{step}" / f"global_step{step}"
    place.mkdir(parents=True)
    states = {
        "module": {"weight": torch.ones(64, 64)}, "optimizer": None, "lr_scheduler": None, "global_steps": step,
        "dp_world_size": 2, "ds_config": {"zero_optimization": {"stage": stage}},
    }  # fmt: skip
    names = ["mp_rank_00"] if stage == 2 else ["zero_pp_rank_0_mp_rank_00", "zero_pp_rank_1_mp_rank_00"]
    for name in names:
        torch.save(states, place / f"{name}_model_states.pt")
    for rank in range(2):
        moments = {"optimizer_state_dict": {"fp32_flat_groups": [torch.rand(4096)], "zero_stage": stage}}
        torch.save(moments, place / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
        torch.save({"cpu": torch.rand(1024)}, place.parent / f"rng_state_{rank}.pth")
    torch.save({"last_epoch": step}, place.parent / "scheduler.pt")
    (place.parent / "latest").write_text(place.name)
    (place.parent / "zero_to_fp32.py").touch()
    state = {"global_step": step, "max_steps": two_ranks.PLANNED, "log_history": []}
    (place.parent / "trainer_state.json").write_text(json.dumps(state))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The output folder of a whole training of each kind."""
    pytest.importorskip("accelerate", reason="accelerate not installed")
    found = {kind: tmp_path_factory.mktemp(kind) for kind in (FULL, SHARDED, ZERO2, ZERO3)}
    for kind in (FULL, SHARDED):
        two_ranks.run(found[kind], kind)
    for step in range(1, two_ranks.PLANNED + 1):
        deepspeed_checkpoint(found[ZERO2], step, stage=2)
        deepspeed_checkpoint(found[ZERO3], step, stage=3)
    return found


def stopped(made: dict[str, Path], kind: str, place: Path) -> Path:
    """A copy of it as it was after the second of three steps."""
    folder = shutil.copytree(made[kind], place / "sft")
    shutil.rmtree(folder / f"checkpoint-{two_ranks.PLANNED}")
    return folder


def zeros(file: Path) -> None:
    harms.zeros(file, 256)  # more than the padding between two tensors


HARMS = (harms.empty, harms.cut, zeros, Path.unlink)
_RANDOM = ("rng_state_0.pth", "rng_state_1.pth", "scheduler.pt")
_OPTIM = "bf16_zero_pp_rank_{}_mp_rank_00_optim_states.pt"
PIECES = {
    FULL: ("pytorch_model_fsdp.bin", "optimizer.bin", "model.safetensors", *_RANDOM),
    SHARDED: (
        *(f"{name}/{file}" for name in ("pytorch_model_fsdp_0", "optimizer_0")
          for file in (".metadata", "__0_0.distcp", "__1_0.distcp")), *_RANDOM,
    ),
    ZERO2: ("global_step2/mp_rank_00_model_states.pt", *(f"global_step2/{_OPTIM.format(r)}" for r in "01"), *_RANDOM),
    ZERO3: (*(f"global_step2/zero_pp_rank_{r}_mp_rank_00_model_states.pt" for r in "01"),
            *(f"global_step2/{_OPTIM.format(r)}" for r in "01"), *_RANDOM),
}  # fmt: skip


@pytest.mark.parametrize("kind", [FULL, SHARDED, ZERO2, ZERO3])
def test_whole_ones_are_gone_on_from_and_any_damaged_piece_of_any_rank_is_found(
    kind: str, made: dict[str, Path], tmp_path: Path
) -> None:
    folder = stopped(made, kind, tmp_path)
    assert checkpoints.seen(folder) == folder / "checkpoint-2"
    assert checkpoints.start(folder) == checkpoints.Start(folder / "checkpoint-2", ())
    newest = folder / "checkpoint-2"
    for name in PIECES[kind]:
        whole = (newest / name).read_bytes()
        for harm in HARMS:
            harm(newest / name)
            assert not (newest / name).is_file() or (newest / name).read_bytes() != whole
            found = checkpoints.start(folder)
            assert found.checkpoint == folder / "checkpoint-1", f"{name}, {harm.__name__}"
            (reason,) = found.passed_over
            assert reason.startswith("checkpoint-2 is passed over: ") and str(folder) not in reason
            (newest / name).write_bytes(whole)
    assert checkpoints.start(folder).checkpoint == newest


@pytest.mark.parametrize("kind", [SHARDED, ZERO2, ZERO3])
def test_a_look_finds_a_rank_that_left_nothing(kind: str, made: dict[str, Path], tmp_path: Path) -> None:
    newest = stopped(made, kind, tmp_path) / "checkpoint-2"
    lost = [*newest.rglob("__1_0.distcp"), *newest.rglob("*zero_pp_rank_1*"), newest / "rng_state_1.pth"]
    for file in lost:
        file.unlink()
    assert "missing" in (checkpoints.problem(newest) or "")


def test_the_number_of_processes_is_recorded_so_that_the_last_ones_loss_shows(
    made: dict[str, Path], tmp_path: Path
) -> None:
    newest = stopped(made, FULL, tmp_path) / "checkpoint-2"
    (newest / "rng_state_1.pth").unlink()
    assert checkpoints.problem(newest) == "rng_state_1.pth is missing"


@pytest.mark.parametrize(("content", "reason"), [("global_step1", "is of global_step1"), ("", "names no step")])
def test_deepspeed_reads_the_folder_that_latest_names(
    content: str, reason: str, made: dict[str, Path], tmp_path: Path
) -> None:
    newest = stopped(made, ZERO3, tmp_path) / "checkpoint-2"
    (newest / "latest").write_text(content)
    assert checkpoints.problem(newest) == f"latest {reason}"
    (newest / "latest").unlink()
    assert checkpoints.problem(newest) == "latest is missing"


def test_the_judge_runs_nothing_of_a_pickle(tmp_path: Path) -> None:
    import pickle

    from alphaf_orch.runs.saved.pickled import tokens

    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    assert "touch" in " ".join(map(str, tokens(pickle.dumps({"relative_path": Harm()}))))
    assert not (tmp_path / "ran").exists()


def test_at_the_planned_step_fsdp_needs_its_weights_only(made: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(made[FULL], tmp_path / "sft")
    last = folder / f"checkpoint-{two_ranks.PLANNED}"
    (last / "optimizer.bin").unlink()
    assert checkpoints.start(folder) == checkpoints.Start(last, ())
    zeros(last / "pytorch_model_fsdp.bin")
    assert checkpoints.start(folder).checkpoint == folder / "checkpoint-2"


@pytest.mark.parametrize("kind", [FULL, SHARDED])
def test_the_trainer_goes_on_from_what_is_judged_whole(kind: str, made: dict[str, Path], tmp_path: Path) -> None:
    """The end of it is that of a training that nothing happened to."""
    from safetensors.torch import load_file

    folder = stopped(made, kind, tmp_path)
    two_ranks.run(folder, kind, checkpoints.start(folder).checkpoint)
    assert checkpoints.start(folder) == checkpoints.Start(folder / f"checkpoint-{two_ranks.PLANNED}", ())
    if kind == FULL:
        again, before = (load_file(each / "finished" / "model.safetensors") for each in (folder, made[kind]))
        assert all(again[name].equal(before[name]) for name in before)


def test_the_finished_model_is_whole_and_in_the_dtype_of_its_base(made: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    folder = made[FULL] / "finished"
    assert {str(tensor.dtype) for tensor in load_file(folder / "model.safetensors").values()} == {"torch.bfloat16"}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    checkpoint = load_file(made[FULL] / f"checkpoint-{two_ranks.PLANNED}" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in checkpoint.values()} == {"torch.float32"}


def test_full_fine_tuning_under_axolotls_fsdp2_moves_float32_weights(tmp_path: Path) -> None:
    """At a learning rate at which AdamW's steps are lost on most weights of bf16."""
    how = {"axolotl": True, "steps": 30, "save": 100, "lr": 1e-5}
    wide = two_ranks.run(_folder(tmp_path / "wide"), SHARDED, **how)
    narrow = two_ranks.run(_folder(tmp_path / "narrow"), SHARDED, widen=False, **how)
    assert wide["dtypes"] == ["torch.float32"] and narrow["dtypes"] == ["torch.bfloat16"]
    assert wide["moved"] > 0.98
    assert narrow["moved"] < 0.35


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("mended", [True, False])
def test_a_resumed_adapter_is_read_beside_the_gpu(
    mended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a machine with GPUs: what peft would ask safetensors for is written down."""
    import peft.peft_model
    from peft import LoraConfig, get_peft_model

    from alphaf_orch.programs.training.resume_device import load_adapter_beside_the_gpu

    model = get_peft_model(tiny.llama(320), LoraConfig(target_modules="all-linear", r=4))
    model.save_pretrained(tmp_path)
    asked: list[str] = []
    real = peft.peft_model.load_peft_weights

    def load(folder: str, device: str, **options: Any) -> Any:
        asked.append(device)
        return real(folder, device="cpu", **options)

    monkeypatch.setattr(peft.peft_model, "load_peft_weights", load)
    monkeypatch.setattr(peft.peft_model, "infer_device", lambda: "cuda")
    if mended:
        load_adapter_beside_the_gpu(SimpleNamespace(model=model))
    model.load_adapter(str(tmp_path), "default", is_trainable=True)  # as transformers does (trainer.py:3452)
    assert asked == ["cpu" if mended else "cuda"]


def test_what_is_left_in_pieces_is_made_one_model_by_axolotl(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does at the end of a training with `state_dict_type: SHARDED_STATE_DICT` (axolotl/train.py:340)."""
    monkeypatch.setattr(os, "environ", dict(os.environ))  # axolotl sets variables as it is imported
    merge = pytest.importorskip("axolotl.cli.merge_sharded_fsdp_weights", reason="axolotl not installed")
    import torch
    from safetensors.torch import load_file

    checkpoint = f"checkpoint-{two_ranks.PLANNED}"
    merge.merge_fsdp_weights(str(made[SHARDED] / checkpoint / "pytorch_model_fsdp_0"), str(tmp_path / "merged"))
    found = load_file(tmp_path / "merged" / "model.safetensors")
    whole = torch.load(made[FULL] / checkpoint / "pytorch_model_fsdp.bin", weights_only=True)
    assert found.keys() == whole.keys()
    # Both trained on the same rows from the same weights; axolotl's merge rounds to bf16.
    assert all(torch.equal(found[name], weight.to(torch.bfloat16)) for name, weight in whole.items())


def test_weights_that_the_first_process_sends_take_no_memory_in_the_others(monkeypatch):
    import torch

    from alphaf_orch.programs.training.master_weights import widen

    cfg = {"fp32_master_weights": True, "fsdp_config": {"cpu_ram_efficient_loading": True}}
    for rank, kept in (("0", True), ("3", False)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        model = torch.nn.Linear(2, 2, bias=False, dtype=torch.bfloat16)
        before = model.weight.detach().float().clone()
        widen(cfg, model)
        assert model.weight.dtype == torch.float32
        assert torch.equal(model.weight, before) is kept and bool(model.weight.any()) is kept
