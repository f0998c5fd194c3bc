"""What a recipe trains, in which widths, and what the optimizer keeps of it: before any engine shares it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alphaf_orch.estimates.shapes import Shape

Section = Literal["sft", "dpo"]

# NF4: 4 bits a weight, a byte for each block of 64 and 4 bytes for 256 of those (QLoRA, arXiv 2305.14314, section 3:
# 0.127 bits a parameter); without double quantisation 4 bytes for each block of 64. Int8: a byte, and a row's scale.
NF4_DOUBLE = (4 + 8 / 64 + 32 / (64 * 256)) / 8
NF4_SINGLE = (4 + 32 / 64) / 8
INT8 = 1.0
# What an optimizer keeps of one parameter: (number of states, bytes of each; 0: the parameter's own width). 8-bit
# states have a 4-byte scale for each block of 256 (arXiv 2110.02861; bitsandbytes/optim/optimizer.py). Longest first.
STATES: tuple[tuple[str, int, float], ...] = (
    ("ademamix_8bit", 3, 1 + 4 / 256),
    ("adamw_torch_4bit", 2, 0.5 + 4 / 128),
    ("adamw_torch_8bit", 2, 1 + 4 / 256),
    ("adamw_torch_fp8", 2, 1.0),
    ("lion_8bit", 1, 1 + 4 / 256),
    ("rmsprop_bnb_8bit", 1, 1 + 4 / 256),
    ("8bit", 2, 1 + 4 / 256),  # adamw_8bit, adamw_bnb_8bit, paged_adamw_8bit, …
    ("paged_lion", 1, 4),
    ("lion_32bit", 1, 4),
    ("ademamix", 3, 4),
    ("paged_adamw", 2, 4),
    ("adafactor", 0, 0),  # a row and a column for each matrix: below 0.1 %
    ("rmsprop", 1, 0),
    ("adagrad", 1, 0),
    ("lion", 1, 0),
    ("muon", 1, 0),
    ("sgd", 0, 0),
)
LAYER_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Group:
    """Parameters trained alike: how many, the bytes of one, what the optimizer keeps of one."""

    count: int
    width: int
    states: float


def compute_width(recipe: Mapping[str, Any], *, gpu: bool) -> int:
    """Return the bytes of what is computed with: 2 for bf16 and fp16, else 4 (axolotl/utils/config, torch_dtype)."""
    half = any(recipe.get(key) for key in ("bfloat16", "fp16", "float16")) or recipe.get("bf16") in (True, "full")
    # `auto` is 16 bits on every card, 32 without one (axolotl utils/config; programs/training/dpo_model.py).
    return 2 if half or (gpu and recipe.get("bf16") == "auto") or recipe.get("load_in_8bit") else 4


def is_full(recipe: Mapping[str, Any], section: Section) -> bool:
    """Return whether every weight is trained."""
    return section == "sft" and not recipe.get("adapter")


def linear_sizes(shape: Shape) -> dict[str, tuple[int, int]]:
    """Return (inputs, outputs) of each linear layer of one block, under Llama's names."""
    h, q, kv, i = (
        shape.hidden_size,
        shape.attention_heads * shape.head_dim,
        shape.kv_heads * shape.head_dim,
        shape.intermediate_size,
    )
    sizes = ((h, q), (h, kv), (h, kv), (q, h), (h, i), (h, i), (i, h))
    return dict(zip(LAYER_LINEAR, sizes, strict=True))


def layer_parameters(shape: Shape) -> int:
    """Return the weights of the linear layers of one block."""
    return sum(inputs * outputs for inputs, outputs in linear_sizes(shape).values())


def embedding_parameters(shape: Shape) -> int:
    """Return the weights of the embedding and, where it is not tied to it, of the head."""
    return shape.vocab_size * shape.hidden_size * (1 if shape.tie_word_embeddings else 2)


def adapted(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which linear layers of a block get LoRA; all of them where the names are not Llama's."""
    named = recipe.get("lora_target_modules")
    if recipe.get("lora_target_linear") or not isinstance(named, list | tuple):
        return LAYER_LINEAR
    known = tuple(name for name in LAYER_LINEAR if name in named)
    return known if len(known) == len(set(named)) else LAYER_LINEAR


def adapter_parameters(shape: Shape, recipe: Mapping[str, Any]) -> int:
    """Return the parameters of LoRA: layers * r * the sum of (inputs + outputs) (arXiv 2106.09685, section 4.1)."""
    sizes = linear_sizes(shape)
    return shape.layers * int(recipe.get("lora_r") or 0) * sum(sum(sizes[name]) for name in adapted(recipe))


def linear_width(recipe: Mapping[str, Any], width: int, *, full: bool) -> float:
    """Return the bytes of a weight of the blocks' linear layers as loaded; nothing else of a model is quantised."""
    if full:
        return width
    if recipe.get("load_in_4bit"):
        asked = recipe.get("bnb_config_kwargs") or {}
        double = asked.get("bnb_4bit_use_double_quant", True)  # axolotl loaders/model.py's default, our DPO's too
        return NF4_DOUBLE if double else NF4_SINGLE
    return INT8 if recipe.get("load_in_8bit") else width


def weight_bytes(shape: Shape, recipe: Mapping[str, Any], width: int, *, full: bool) -> int:
    """Return the bytes of the base model as loaded."""
    linear = shape.layers * layer_parameters(shape)
    return int(linear * linear_width(recipe, width, full=full)) + max(0, shape.parameters - linear) * width


def state_bytes(optimizer: str, width: int) -> float:
    """Return the bytes that the optimizer keeps of a parameter of `width` bytes; two moments where it is not known."""
    for name, states, size in STATES:
        if name in optimizer:
            return states * (size or width)
    return 2.0 * width


def is_paged(recipe: Mapping[str, Any]) -> bool:
    """Return whether the moments are in managed memory, which torch does not count and the driver can move out."""
    return str(recipe.get("optimizer") or "").startswith("paged")


def trained_groups(shape: Shape, recipe: Mapping[str, Any], section: Section, *, gpu: bool) -> tuple[Group, ...]:
    """Return what is trained, as one process without sharding holds it.

    LoRA is float32 (peft's autocast_adapter_dtype, settle_adapters of programs/training/dpo_model.py; measured: 12
    bytes a parameter at the loss). Whole modules are too, of our plugin; sharded, they keep the base's width.
    """
    width, optimizer = compute_width(recipe, gpu=gpu), str(recipe.get("optimizer") or "adamw_torch")
    if is_full(recipe, section):
        if recipe.get("fp32_master_weights"):
            return (Group(shape.parameters, 4, state_bytes(optimizer, 4)),)
        # Embedding and head are made float32 and stay so under sdpa (axolotl loaders/model.py:435-494, run: they do).
        upcast = embedding_parameters(shape) if recipe.get("attn_implementation") in ("sdpa", "eager", None) else 0
        return (
            Group(shape.parameters - upcast, width, state_bytes(optimizer, width)),
            Group(upcast, 4, state_bytes(optimizer, 4)),
        )
    groups = [Group(adapter_parameters(shape, recipe), 4, state_bytes(optimizer, 4))]
    modules = recipe.get("lora_modules_to_save") if section == "sft" else None
    if modules:
        copies = 1 if shape.tie_word_embeddings else len(modules)
        if not recipe.get("fsdp_config") and not recipe.get("deepspeed"):
            width = 4  # as the adapter (programs/training/float32_weights.py)
        groups.append(Group(copies * shape.vocab_size * shape.hidden_size, width, state_bytes(optimizer, width)))
    return tuple(groups)


def fused(recipe: Mapping[str, Any]) -> bool:
    """Return whether axolotl's own LoRA kernels compute the adapters."""
    return any(recipe.get(f"lora_{part}_kernel") for part in ("mlp", "qkv", "o"))


def unsloth(recipe: Mapping[str, Any], *, gpu: bool) -> bool:
    """Return whether DPO is trained by unsloth: where CUDA is there and nothing else was asked for."""
    return gpu and recipe.get("backend", "transformers") in ("auto", "unsloth")
