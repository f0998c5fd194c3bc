"""Float32 weights to train where axolotl loads bf16 ones and keeps no others."""

from __future__ import annotations

from typing import Any


def widen(cfg: Any, model: Any) -> None:
    """Guarantee float32 weights where the recipe asks for fp32_master_weights, before the model is cut over the GPUs.

    FSDP2 trains what it is given: axolotl 0.19.0's fsdp2_prepare_model upcasts nothing
    (monkeypatch/accelerate/fsdp2.py:429), and accelerate 1.13.0's own does so without effect (utils/fsdp_utils.py:740
    binds a name anew). At a learning rate of 1e-5 most of AdamW's steps are below half a spacing of bf16 and are lost.
    bf16 to float32 is exact; FSDP's mixed precision gathers and computes in bf16 as before.
    """
    import torch

    if cfg.get("fp32_master_weights"):
        model.to(torch.float32)


def narrow(cfg: Any, model: Any) -> None:
    """Guarantee a finished model in the recipe's dtype, as the base model has it; checkpoints stay float32."""
    if cfg.get("fp32_master_weights"):
        model.to(cfg["torch_dtype"])
