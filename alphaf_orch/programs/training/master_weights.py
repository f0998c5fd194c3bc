"""Float32 weights to train where axolotl loads bf16 ones and keeps no others."""

from __future__ import annotations

import os
from typing import Any


def widen(cfg: Any, model: Any) -> None:
    """Guarantee float32 weights where the recipe asks for fp32_master_weights, before the model is cut over the GPUs.

    FSDP2 trains what it is given: axolotl 0.19.0's fsdp2_prepare_model upcasts nothing
    (monkeypatch/accelerate/fsdp2.py:429), and accelerate 1.13.0's own does so without effect (utils/fsdp_utils.py:740
    binds a name anew). At a learning rate of 1e-5 most of AdamW's steps are below half a spacing of bf16 and are lost.
    bf16 to float32 is exact; FSDP's mixed precision gathers and computes in bf16 as before.
    """
    import torch

    if not cfg.get("fp32_master_weights"):
        return
    # Of the processes of a machine only the first has read the weights then, and FSDP2 sends them to the others, whose
    # zeros are memory that nobody has touched: cast, they would fill it, 58 GB each for Orion.
    sent = (
        bool((cfg.get("fsdp_config") or {}).get("cpu_ram_efficient_loading"))
        and os.environ.get("LOCAL_RANK", "0") != "0"
    )
    for weight in model.parameters():
        if weight.is_floating_point() and weight.dtype != torch.float32:
            weight.data = torch.zeros_like(weight, dtype=torch.float32) if sent else weight.data.float()


def narrow(cfg: Any, model: Any) -> None:
    """Guarantee a finished model in the recipe's dtype, as the base model has it; checkpoints stay float32."""
    if cfg.get("fp32_master_weights"):
        model.to(cfg["torch_dtype"])
