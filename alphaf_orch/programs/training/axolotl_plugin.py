"""The axolotl plugin that adds our callbacks to its trainer; the SFT recipes name it."""

from __future__ import annotations

import os
from typing import Any

from axolotl.integrations.base import BasePlugin
from transformers import set_seed

from alphaf_orch.programs.architectures.orion import register
from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.stacks import print_stacks_on_signal
from alphaf_orch.programs.training.batch_record import BatchRecord
from alphaf_orch.programs.training.checkpoint_record import CheckpointRecord
from alphaf_orch.programs.training.cpu_quantization import KeepGradients
from alphaf_orch.programs.training.eval_padding import pad_evaluation_to_its_rows
from alphaf_orch.programs.training.finite_loss import FiniteLoss
from alphaf_orch.programs.training.float32_weights import trained_in_float32
from alphaf_orch.programs.training.master_weights import narrow, widen
from alphaf_orch.programs.training.metrics_callback import MetricsCallback
from alphaf_orch.programs.training.nf4_check import check_nf4, linear_shapes
from alphaf_orch.programs.training.packing_check import RowsApart
from alphaf_orch.programs.training.planned_end import end_at_the_planned_step
from alphaf_orch.programs.training.rank_errors import record_uncaught
from alphaf_orch.programs.training.resume_device import load_adapter_beside_the_gpu
from alphaf_orch.programs.training.stop_at_step import StopAtStep


class AlphafPlugin(BasePlugin):  # type: ignore[misc]
    """Adds our callbacks and native classes, the seed and the end at the planned step; found by PYTHONPATH."""

    def register(self, cfg: Any) -> None:
        """Make our native classes known, and refuse a 4-bit base of which bitsandbytes makes other values here.

        axolotl calls this before it reads a model's config or tokenizer: in preprocess, and in each rank.
        """
        print_stacks_on_signal()
        record_uncaught()
        register()
        if cfg.get("adapter") == "qlora":
            _check_base(cfg)
        _seed(cfg)

    def get_input_args(self) -> str:
        """Return the class with the keys of ours that a recipe may have."""
        return "alphaf_orch.programs.training.axolotl_args.AlphafArgs"

    def pre_model_load(self, cfg: Any) -> None:
        """Seed the rows that loading adds for new tokens; each rank draws the same ones."""
        _seed(cfg)

    def pre_lora_load(self, cfg: Any, model: Any) -> None:  # noqa: ARG002  (axolotl's signature)
        """Seed the adapter's first weights anew, whatever loading drew: its Trainer does so only after them."""
        _seed(cfg)

    def post_lora_load(self, cfg: Any, model: Any) -> None:
        """Keep what is trained beside an adapter in float32, as the adapter is; engines that shard do as they do."""
        if cfg.get("adapter") and not cfg.get("fsdp_config") and not cfg.get("deepspeed"):
            trained_in_float32(model)

    def post_model_load(self, cfg: Any, model: Any) -> None:
        """Make float32 what is trained where the recipe says so."""
        widen(cfg, model)

    def post_train(self, cfg: Any, model: Any) -> None:
        """Make the trained model what the base was, before it is saved."""
        narrow(cfg, model)

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        """Keep a resumed training from going past its end, its adapter off another's GPU, and evaluations unpadded."""
        end_at_the_planned_step(trainer)
        load_adapter_beside_the_gpu(trainer)
        pad_evaluation_to_its_rows(cfg, trainer)

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        """Return the callbacks for axolotl to add to the trainer it made."""
        return [
            MetricsCallback(),
            KeepGradients(),
            RowsApart(),
            BatchRecord(),
            CheckpointRecord(),
            FiniteLoss(),
            StopAtStep(),
        ]


def _check_base(cfg: Any) -> None:
    import torch

    if torch.cuda.is_available() and os.environ.get("AXOLOTL_IS_PREPROCESS") == "1":
        return  # each rank asks its own card; a process that forks to tokenise opens none
    trust = bool(cfg.get("trust_remote_code"))
    try:
        shapes = linear_shapes(cfg["base_model"], cfg.get("revision_of_model"), trust_remote_code=trust)
    except OSError:
        return  # a config that is only validated, its model not here; where one is trained, axolotl says so
    try:
        dtype = torch.bfloat16 if cfg.get("bf16") is True else torch.float32
        check_nf4(shapes, dtype, fix="train the adapter on unquantised weights: --set sft.adapter=lora")
    except Failure as failure:
        failure.show()
        raise


def _seed(cfg: Any) -> None:
    """Seed Python, numpy and torch, on every device; 42 is axolotl's own where a recipe names none."""
    seed = cfg.get("seed")
    set_seed(42 if seed is None else int(seed))
