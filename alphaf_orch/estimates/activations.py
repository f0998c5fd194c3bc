"""What one process holds of a batch: the layers' inputs, one layer computed again, the logits and their loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaf_orch.estimates.shapes import Shape
from alphaf_orch.estimates.trained import (
    Section,
    adapter_parameters,
    compute_width,
    is_full,
    linear_sizes,
    unsloth,
)

# Bytes a token and vocabulary row while the loss is taken back: log_softmax's result, nll_loss's gradient, that of
# log_softmax, float32 each (transformers/loss/loss_utils.py upcasts; torch keeps nothing else). Measured: 12.0 to 12.1.
CROSS_ENTROPY = 12
CROSS_ENTROPY_FORWARD = 10  # the logits in 16 bits, their float32 copy, log_softmax's result
# liger's and chunked losses take the gradient in place or a chunk at a time: read in their sources, not measured.
IN_PLACE = 6  # 16-bit logits or gradient, and one float32 copy (liger_kernel/ops/cross_entropy.py)
CHUNKED = 6  # logits, the chunks' gradients and those joined, 16 bits each (axolotl/monkeypatch/loss/chunked.py)
# TRL's log-probabilities: float32 logits (accelerate converts outputs), the rows' gradients, those stacked, gather's
# (trl/trainer/utils.py, selective_log_softmax).
PREFERENCE = 16
PREFERENCE_KEPT = 4  # of the policy's logits while the reference passes
PREFERENCE_REFERENCE = 6  # the reference's own, while they are converted


def tokens(recipe: Mapping[str, Any], section: Section, longest_row: int) -> int:
    """Return the tokens of one micro batch at most; a pair is two rows."""
    length = int(recipe["sequence_len"])
    if longest_row and not (recipe.get("sample_packing") or recipe.get("pad_to_sequence_len")):
        length = min(length, longest_row)
    return int(recipe["micro_batch_size"]) * (2 if section == "dpo" else 1) * length


def kept_bytes(shape: Shape, recipe: Mapping[str, Any], section: Section, count: int, *, gpu: bool) -> int:
    """Return what a forward pass keeps of `count` tokens for the way back.

    With checkpointing each layer's input, layers * tokens * hidden_size (arXiv 1604.06174); "selective" the attention's
    output as well; offloaded to the CPU, two of them. Without it all that the layers save.
    """
    width = compute_width(recipe, gpu=gpu)
    one = count * shape.hidden_size * width
    how = recipe.get("gradient_checkpointing")
    if not how:
        return shape.layers * (one + count * saved_per_token(shape, recipe, section, gpu=gpu))
    offloaded = how in ("offload", "offload_disk", "unsloth") or recipe.get("activation_offloading")
    if offloaded or (section == "dpo" and unsloth(recipe, gpu=gpu)):
        return min(2, shape.layers) * one
    attention = shape.attention_heads * shape.head_dim * width if recipe.get("selective_checkpointing") else 0
    return shape.layers * (one + count * attention)


def saved_per_token(shape: Shape, recipe: Mapping[str, Any], section: Section, *, gpu: bool) -> int:
    """Return what one layer saves of a token, its input apart.

    Both norms' float32 input, q, k, v and the attention's output, gate, up and silu(gate), and what the linear layers
    read: all of it where weights are trained, under LoRA what each adapter reads behind its dropout. As torch's
    saved_tensors_hooks count it for Llama under transformers and peft (tests/real/test_saved_activations.py); with
    axolotl's kernels by what axolotl/kernels/lora.py saves, unsloth's the same.
    """
    width, h, i = compute_width(recipe, gpu=gpu), shape.hidden_size, shape.intermediate_size
    sizes = linear_sizes(shape)
    q, kv = sizes["q_proj"][1], sizes["k_proj"][1]
    norms = (2 if width < 4 else 1) * 4 * h  # in 32 bits the first norm reads the layer's input itself
    attention = width * (2 * q + 2 * kv)
    if is_full(recipe, section):
        return norms + 4 * width * h + attention + 4 * width * i  # each norm's two factors, the product of gate and up
    dropped = float(recipe.get("lora_dropout") or 0) > 0
    rank = len(sizes) * int(recipe.get("lora_r") or 0) * width
    if bool(recipe.get("lora_mlp_kernel")) or (section == "dpo" and unsloth(recipe, gpu=gpu)):
        behind = (2 * h + q) * (width + 1) if dropped else 0
        return norms + 2 * width * h + attention + 2 * width * i + behind + rank
    read = sum(inputs for inputs, _ in sizes.values())
    mask = 1 if gpu else 4  # bool on a card, float32 on a CPU
    # A cast copies the input for each adapter; without one all of a block read the same two norms' outputs.
    inputs = (width + mask) * read if dropped else width * (read if width < 4 else 2 * h + i)
    return norms + attention + 3 * width * i + inputs + rank


def recomputed_bytes(shape: Shape, recipe: Mapping[str, Any], section: Section, count: int, *, gpu: bool) -> int:
    """Return what going back through one layer needs: what it saves, the MLP's gradients, its weights dequantised."""
    width, h, i = compute_width(recipe, gpu=gpu), shape.hidden_size, shape.intermediate_size
    saved = saved_per_token(shape, recipe, section, gpu=gpu) if recipe.get("gradient_checkpointing") else 0
    gradients = width * (2 * i + 2 * h)
    quantised = recipe.get("load_in_4bit") or recipe.get("load_in_8bit")
    weights = 2 * h * i * width if quantised and not is_full(recipe, section) else 0
    cast = adapter_parameters(shape, recipe) // shape.layers * width if width < 4 else 0
    return count * (saved + gradients) + weights + cast


def passed_bytes(shape: Shape, count: int, width: int) -> int:
    """Return what one layer needs on a pass that keeps nothing: gate, up and their product, two norms, one matrix."""
    h, i = shape.hidden_size, shape.intermediate_size
    return count * (3 * width * i + 8 * h) + h * i * width


def head_bytes(shape: Shape, count: int, width: int) -> int:
    """Return what is kept between the last layer and the logits: the last norm's float32 input and its output."""
    return count * shape.hidden_size * (4 + width)


def logits_bytes(shape: Shape, recipe: Mapping[str, Any], count: int, width: int, *, forward: bool) -> int:
    """Return what logits and cross entropy of `count` tokens need, on the way there or back."""
    whole = count * shape.vocab_size
    if recipe.get("liger_fused_linear_cross_entropy") or recipe.get("cut_cross_entropy"):
        # A chunk is to the tokens as hidden_size to the vocabulary (liger_kernel/ops/fused_linear_cross_entropy.py).
        chunk = min(whole, count * shape.hidden_size)
        return chunk * IN_PLACE + count * shape.hidden_size * width
    if recipe.get("chunked_cross_entropy"):
        pieces = int(recipe.get("chunked_cross_entropy_num_chunks") or 8)
        return whole * CHUNKED + whole * 8 // pieces
    if recipe.get("liger_cross_entropy"):
        return whole * IN_PLACE
    return whole * (CROSS_ENTROPY_FORWARD if forward else CROSS_ENTROPY)
