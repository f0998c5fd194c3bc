"""Trains a tiny Llama by transformers' Trainer under FSDP2 in two gloo processes, which accelerate lets no CPU do."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import tiny

PLANNED = 3


def fsdp_on_cpu() -> None:
    """Make accelerate take two CPU processes for two GPUs; FSDP2, and what saves and loads it, are the real ones."""
    import torch.distributed.checkpoint.state_dict as states
    from accelerate import state
    from accelerate.utils import DistributedType
    from torch.distributed._functional_collectives import AsyncCollectiveTensor
    from torch.utils._pytree import tree_map_only

    begin = state.AcceleratorState.__init__

    def begun(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        begin(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = fsdp_plugin
        if getattr(self, "fsdp_plugin", None) is not None:
            self.distributed_type = DistributedType.FSDP

    state.AcceleratorState.__init__ = begun

    def waited(real: Any) -> Any:
        # The copy to the CPU, which waits for what is gathered, does nothing where it is there already.
        return lambda *args, **kwargs: tree_map_only(
            AsyncCollectiveTensor, lambda tensor: tensor.wait(), real(*args, **kwargs)
        )

    states.get_model_state_dict = waited(states.get_model_state_dict)
    states.get_optimizer_state_dict = waited(states.get_optimizer_state_dict)


def train(rank: int, port: int, folder: str, kind: str, resume: str | None, how: dict[str, Any]) -> None:
    """Train to the planned step; `how`: dtype of the loaded model, steps, lr, widen (our plugin's mend), axolotl."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port), ACCELERATE_USE_CPU="true", ACCELERATE_USE_FSDP="true", FSDP_VERSION="2",
        FSDP_STATE_DICT_TYPE=kind, FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP", FSDP_RESHARD_AFTER_FORWARD="true",
        FSDP_TRANSFORMER_CLS_TO_WRAP="LlamaDecoderLayer", OMP_NUM_THREADS="1",
    )  # fmt: skip
    import torch
    from transformers import Trainer, TrainingArguments, set_seed

    from alphaf_orch.programs.training.checkpoint_record import CheckpointRecord
    from alphaf_orch.programs.training.master_weights import narrow, widen
    from alphaf_orch.programs.training.planned_end import end_at_the_planned_step

    fsdp_on_cpu()
    if how.get("axolotl"):
        from axolotl.monkeypatch.accelerate.fsdp2 import patch_accelerate_fsdp2

        patch_accelerate_fsdp2()
    set_seed(1)
    arguments = TrainingArguments(
        output_dir=folder, max_steps=how.get("steps", PLANNED), save_steps=how.get("save", 1), logging_steps=1, seed=1,
        per_device_train_batch_size=2, learning_rate=how.get("lr", 1e-2), use_cpu=True, bf16=True, report_to="none",
        disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    cfg = {"fp32_master_weights": how.get("widen", True), "torch_dtype": torch.bfloat16}
    model = tiny.llama(320).to(torch.bfloat16)
    first = {name: weight.clone() for name, weight in model.state_dict().items()}
    widen(cfg, model)
    rows = [{"input_ids": [n, n + 1, n + 2, 7], "labels": [n, n + 1, n + 2, 7]} for n in range(1, 21)]
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[CheckpointRecord()])
    end_at_the_planned_step(trainer)
    trainer.train(resume_from_checkpoint=resume)
    moved, dtypes = _moved(trainer.model, first)
    if rank == 0:
        torch.save({"moved": moved, "dtypes": dtypes}, Path(folder) / "facts.bin")
    narrow(cfg, trainer.model)
    trainer.save_model(str(Path(folder) / "finished"))


def _moved(model: Any, first: dict[str, Any]) -> tuple[float, list[str]]:
    """Return which share of the weights that have a gradient is not what it was, and the dtypes of the weights."""
    moved = total = 0
    for name, weight in model.named_parameters():
        if "embed_tokens" in name:  # most of its rows are of no token of the data
            continue
        whole = weight.full_tensor().detach()
        moved += int((whole != first[name.replace("_fsdp_wrapped_module.", "")].to(whole.dtype)).sum())
        total += whole.numel()
    return moved / total, sorted({str(weight.dtype) for weight in model.parameters()})


def run(folder: Path, kind: str, resume: Path | None = None, **how: Any) -> dict[str, Any]:
    """Run the training in two processes and return what rank 0 found.

    They are forked of a process that has imported the tools and done nothing else: torch's threads, which this one may
    have by now, do not survive a fork, and who waits for one waits for ever.
    """
    import torch
    from torch.multiprocessing import start_processes

    tools = ["transformers.trainer", "peft", "axolotl.monkeypatch.accelerate.fsdp2"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(tools)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (port, str(folder), kind, str(resume) if resume else None, how)
    start_processes(train, args=arguments, nprocs=2, start_method="forkserver")
    return dict(torch.load(folder / "facts.bin"))
