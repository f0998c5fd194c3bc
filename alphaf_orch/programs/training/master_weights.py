"""The axolotl plugin that keeps trained weights as float32 under FSDP2; the engines' templates name it for `full`."""

from __future__ import annotations

import os
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin


class Float32MasterWeights(BasePlugin):  # type: ignore[misc]
    """Makes float32 what axolotl loads in 16 bits, so that AdamW's small updates are not rounded away.

    FSDP2 computes in 16 bits all the same: its mixed precision casts what it gathers
    (accelerate/utils/dataclasses.py:2073).
    axolotl's own preparation upcasts nothing (axolotl/monkeypatch/accelerate/fsdp2.py:429), and accelerate's casts a
    copy that nobody keeps (accelerate/utils/fsdp_utils.py:740).
    """

    def post_model_load(self, cfg: Any, model: Any) -> None:
        """Cast all weights, last of what happens to a model before it is sharded."""
        fsdp = cfg.get("fsdp_config") or {}
        # There only the first rank of a machine has read them: FSDP2 sends its weights to the others.
        sent = bool(fsdp.get("cpu_ram_efficient_loading")) and int(os.environ.get("LOCAL_RANK", "0")) != 0
        as_float32(model, filled_later=sent)


def as_float32(model: torch.nn.Module, *, filled_later: bool) -> None:
    """Make every floating weight float32; one that is `filled_later` takes no memory until then."""
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            zeros = filled_later and parameter.device.type == "cpu"
            parameter.data = torch.zeros_like(parameter, dtype=torch.float32) if zeros else parameter.data.float()
