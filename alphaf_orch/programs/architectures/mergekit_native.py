"""Architectures that mergekit has no description of and we have a class for, in mergekit's own format."""

from __future__ import annotations

import json
from typing import Any

_LAYER = "model.layers.${layer_index}"
_PROJECTIONS = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.up_proj", "mlp.gate_proj", "mlp.down_proj",
)  # fmt: skip
_NORMS = ("input_layernorm", "post_attention_layernorm")
# Orion: Llama's tensors with a bias beside each norm's weight (the names of the published weights).
ORION: dict[str, Any] = {
    "model_type": "orion",
    "architectures": ["OrionForCausalLM"],
    "num_layers_config_key": "num_hidden_layers",
    "pre_weights": [{"name": "model.embed_tokens.weight", "vocabulary_axis": 0}],
    "layer_templates": {
        "weights": [
            *({"name": f"{_LAYER}.{norm}.{part}"} for norm in _NORMS for part in ("weight", "bias")),
            *({"name": f"{_LAYER}.{name}.weight"} for name in _PROJECTIONS),
        ]
    },
    "post_weights": [
        {"name": "model.norm.weight"},
        {"name": "model.norm.bias"},
        {
            "name": "lm_head.weight",
            "vocabulary_axis": 0,
            "optional": True,
            "tied_names": ["model.embed_tokens.weight"],
        },
    ],
}


def register_architectures() -> None:
    """Make mergekit know our classes: without it, it would guess the tensors from the files; repeatable."""
    from mergekit.architecture import json_definitions

    for definition in (ORION,):
        (name,) = definition["architectures"]
        if name not in json_definitions.NAME_TO_ARCH:
            made = json_definitions._load_architecture_json(json.dumps(definition))
            json_definitions.NAME_TO_ARCH[name] = [made]
