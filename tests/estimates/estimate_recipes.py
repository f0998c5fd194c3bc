"""The recipes that the estimates are tried on, as they are rendered for a GPU, and the presets' shapes."""

from __future__ import annotations

from typing import Any

from alphaf_orch.core.paths import PACKAGE
from alphaf_orch.estimates.memory import Shape, shape_of
from alphaf_orch.inputs.presets import load_preset

ROOT = PACKAGE.parent
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KERNELS = {"lora_mlp_kernel": True, "lora_qkv_kernel": True, "lora_o_kernel": True}
BATCH = {
    "sequence_len": 4096,
    "sample_packing": True,
    "pad_to_sequence_len": True,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "optimizer": "adamw_torch_fused",
    "bf16": True,
    "attn_implementation": "sdpa",
    "gradient_checkpointing": True,
}
LORA: dict[str, Any] = {
    "adapter": "lora",
    "lora_r": 256,
    "lora_dropout": 0.05,
    "lora_target_linear": True,
    **KERNELS,
    **BATCH,
}
QLORA = {**LORA, "adapter": "qlora", "load_in_4bit": True}
ORION = {**dict.fromkeys(KERNELS, False), "lora_modules_to_save": ["embed_tokens", "lm_head"]}
FULL = {**BATCH, "adapter": None, "micro_batch_size": 1, "gradient_accumulation_steps": 8}
EACH = {"accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}}}
DPO = {
    "load_in_4bit": True,
    "bf16": True,
    "lora_r": 128,
    "lora_dropout": 0.0,
    "lora_target_modules": LINEAR,
    "sequence_len": 1024,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "optimizer": "paged_adamw_32bit",
    "gradient_checkpointing": True,
    "backend": "auto",
}


def shape(name: str) -> Shape:
    """Return a preset's shape."""
    return shape_of(load_preset(name, [ROOT / "templates/models"]).architecture)
