"""What the names and shapes of the weights say: a head of its own, the linear layers."""

from __future__ import annotations

import re
from pathlib import Path

from alphaf_orch.inputs.model_files import file_problem, read_tensors, safetensors_files
from alphaf_orch.inputs.safetensors_header import Tensor

_HEADS = ("lm_head.weight", "embed_out.weight", "output_layer.weight", ".output.weight")
_EMBEDDINGS = ("embed_tokens.weight", "embed_in.weight", "word_embeddings.weight", "wte.weight")
_IN_A_LAYER = re.compile(r"\.\d+\..*?([^.]+)\.weight$")
EXPERTS = re.compile(r"\.experts?\.|\.block_sparse_moe\.|\.moe\.|\.shared_expert")


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Return every tensor in a folder's whole safetensors files, read from their headers alone."""
    files = (file for file in safetensors_files(folder) if not file_problem(file))
    return {name: tensor for file in files for name, tensor in read_tensors(file).items()}


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in a folder's whole safetensors files."""
    return {name: tensor.shape for name, tensor in tensors_of(folder).items()}


def has_head(folder: Path) -> bool:
    """Return whether the model has output weights of its own, not its embedding's; yes where that is not known."""
    names = tensor_shapes(folder)
    return any(name.endswith(_HEADS) for name in names) or not any(name.endswith(_EMBEDDINGS) for name in names)


def has_renamed_head(folder: Path) -> bool:
    """Return whether the head's name in the weights is one that transformers 5 changes on loading (GPT-NeoX)."""
    return any(name.endswith("embed_out.weight") for name in tensor_shapes(folder))


def linear_modules(folder: Path) -> tuple[str, ...]:
    """Return the names of the linear maps in the layers, sorted: all that LoRA on every linear layer means."""
    found = {
        match[1]
        for name, shape in tensor_shapes(folder).items()
        if len(shape) == 2 and (match := _IN_A_LAYER.search(name))
    }
    return tuple(sorted(found))
