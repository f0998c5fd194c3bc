"""What disk a run needs beside the weights that it starts from."""

from __future__ import annotations

from alphaf_orch.estimates.shapes import shape_of
from alphaf_orch.estimates.trained import adapter_parameters
from alphaf_orch.inputs.presets import ModelPreset

# Bytes a trained parameter in a checkpoint. Two fp32 Adam moments (8) and the fp32 weight (4); FSDP's FULL_STATE_DICT
# has the weights twice, in pytorch_model_fsdp.bin and in model.safetensors; DeepSpeed adds the bf16 model, which ZeRO-2
# has twice. Measured on a tiny model: 16.2 under FSDP2, 12.3 under ZeRO-3 without the bf16 model.
CHECKPOINT_BYTES = {"ddp": 12, "fsdp2": 16, "hsdp": 16, "zero2": 16, "zero3": 14}


def disk_bytes(
    preset: ModelPreset,
    *,
    adapter: str | None,
    lora_r: int,
    dpo_lora_r: int,
    save_total_limit: int,
    bytes_per_parameter: int = 2,
    engine: str = "ddp",
) -> int:
    """Return the disk a run needs, in bytes, an upper estimate; 0 if the model's shape is not known.

    trained = LoRA parameters, with vocab_size * hidden_size for each of lora_modules_to_save; or all
    parameters for adapter None. SFT writes save_total_limit checkpoints of CHECKPOINT_BYTES a trained parameter and the
    final weights at 4; DPO the same with dpo_lora_r, under DDP; then come two merged models in bf16, or whatever
    bytes_per_parameter says.
    disk = (checkpoint * save_total_limit + 4) * trained, for SFT and DPO, + 2 * bytes_per_parameter * parameters
    """
    if preset.architecture is None:
        return 0
    shape = shape_of(preset.architecture)
    sft_lora, dpo_lora = (adapter_parameters(shape, {"lora_r": rank}) for rank in (lora_r, dpo_lora_r))
    extra = shape.vocab_size * shape.hidden_size * len(preset.sft.get("lora_modules_to_save") or ())
    trained_sft = shape.parameters if adapter is None else sft_lora + extra
    sft = (CHECKPOINT_BYTES[engine] * save_total_limit + 4) * trained_sft
    dpo = (CHECKPOINT_BYTES["ddp"] * save_total_limit + 4) * dpo_lora
    return sft + dpo + 2 * bytes_per_parameter * shape.parameters
