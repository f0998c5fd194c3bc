"""The shape of a model and of the machine it is trained on, as the estimates take them."""

from __future__ import annotations

from dataclasses import dataclass

from alphaf_orch.inputs.presets import Architecture

# The article's card, an H100 SXM of 80 GB, as NVML counts it.
H100_BYTES = 85_500_000_000


@dataclass(frozen=True)
class Shape:
    """A decoder with gated MLP, as `inputs.presets.Architecture` names its sizes; `head_dim` is always a number."""

    layers: int
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool
    parameters: int


def shape_of(architecture: Architecture) -> Shape:
    """Return the shape that a preset, or `inputs.own_model` for a model of one's own, names as `architecture`."""
    a = architecture
    return Shape(
        layers=a.layers,
        hidden_size=a.hidden_size,
        intermediate_size=a.intermediate_size,
        attention_heads=a.attention_heads,
        kv_heads=a.kv_heads,
        head_dim=a.head_dim or a.hidden_size // a.attention_heads,
        vocab_size=a.vocab_size,
        tie_word_embeddings=a.tie_word_embeddings,
        parameters=a.parameters,
    )


@dataclass(frozen=True)
class Setup:
    """On what a recipe is trained.

    `gpus` are those of each node, 0 a CPU; `gpu_memory` is one card's bytes, 0 unknown; `offload` puts to the CPU what
    the engine can put there.
    """

    gpus: int
    nodes: int = 1
    gpu_memory: int = H100_BYTES
    engine: str = "ddp"
    offload: bool = False

    @property
    def world(self) -> int:
        """The processes that train together, one on a CPU."""
        return max(1, self.gpus) * max(1, self.nodes)
