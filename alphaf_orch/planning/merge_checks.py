"""Whether two models can be merged, from config.json, safetensors headers and tokenizer files alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ModelError
from alphaf_orch.inputs.model_files import read_template, read_tensors, read_vocabulary, safetensors_files
from alphaf_orch.inputs.model_json import model_json

# Named in a refusal before any tensor: what makes the shapes what they are.
_SHAPE_KEYS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
)  # fmt: skip
# They change no shape and yet what a model computes; the result keeps the run's own.
_BEHAVIOUR_KEYS = (
    "rope_theta", "partial_rotary_factor", "rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "hidden_act",
    "hidden_activation", "layer_types", "max_position_embeddings", "original_max_position_embeddings", "attention_bias",
    "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "logit_scale", "embedding_multiplier",
    "attention_multiplier", "residual_multiplier", "logits_scaling", "scale_attn_weights",
)  # fmt: skip
# What transformers 5 keeps beside the scaling; 4 wrote the scaling alone, as `rope_scaling`.
_ROPE_NOT_SCALING = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings", "type", "rope_type")
_FLOATS = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True)
class ModelFacts:
    """What a model folder's small files and headers say of it."""

    folder: Path
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str  # the floating dtype that most tensors have
    vocabulary: Mapping[str, int] | None  # None where only a library can read the tokenizer's file
    chat_template: str | None

    @property
    def architecture(self) -> str:
        """The class that config.json names."""
        return str((self.config.get("architectures") or ["unknown"])[0])

    @property
    def rows(self) -> int:
        """How many tokens the embedding has rows for."""
        return int(self.config.get("vocab_size") or 0)

    @property
    def tied(self) -> bool:
        """Whether the output weights are the embedding's."""
        return bool(self.config.get("tie_word_embeddings", False))


def read_facts(folder: Path) -> ModelFacts:
    """Return the facts of a model folder; raise ModelError where its config.json or weights cannot be read."""
    config = model_json(folder / "config.json")
    if config is None:
        raise ModelError(
            "no config.json that can be read",
            where=str(folder),
            fix="copy the model's files again",
            code="model.unreadable",
        )
    tensors = [tensor for file in safetensors_files(folder) for tensor in read_tensors(file).items()]
    shapes = {name: tensor.shape for name, tensor in tensors}
    dtypes = [_FLOATS[tensor.dtype] for _, tensor in tensors if tensor.dtype in _FLOATS]
    main = max(set(dtypes), key=dtypes.count) if dtypes else "unknown"
    return ModelFacts(folder, config, shapes, main, read_vocabulary(folder), read_template(folder))


def refusal(own: ModelFacts, other: ModelFacts) -> str | None:
    """Return why the two cannot be merged, or None; rows of the vocabulary and a tied head are no reason."""
    kinds = [(f.architecture, f.config.get("model_type")) for f in (own, other)]
    if kinds[0] != kinds[1]:
        return f"another architecture: {kinds[1][0]} ({kinds[1][1]}), the run's is {kinds[0][0]} ({kinds[0][1]})"
    differing = [
        f"{key} {other.config.get(key)}, the run's has {own.config.get(key)}"
        for key in _SHAPE_KEYS
        if own.config.get(key) is not None and other.config.get(key) not in (None, own.config.get(key))
    ]
    if differing:
        return f"other shapes: {'; '.join(differing)}"
    reshaped = [
        f"{name} {other.shapes[name]}, the run's has {own.shapes[name]}"
        for name in own.shapes.keys() & other.shapes.keys()
        if own.shapes[name] != other.shapes[name] and not _vocabulary_rows(own, other, name)
    ]
    # A head that only one of them has is that of an untied model.
    only = [name for name in own.shapes.keys() ^ other.shapes.keys() if not name.startswith("lm_head.")]
    if reshaped:
        return f"other shapes: {sorted(reshaped)[0]}" + (f" and {len(reshaped) - 1} more" if reshaped[1:] else "")
    if only:
        return f"other tensors: {len(only)} are in one of the models only, such as {sorted(only)[0]}"
    return None


def _vocabulary_rows(own: ModelFacts, other: ModelFacts, name: str) -> bool:
    mine, theirs = own.shapes[name], other.shapes[name]
    return mine[1:] == theirs[1:] and (mine[0], theirs[0]) == (own.rows, other.rows)


def differences(own: ModelFacts, other: ModelFacts, name: str) -> list[str]:
    """Return what is handled, recorded and told: other vocabulary, dtype, tied embeddings, settings, template."""
    found = []
    if own.vocabulary is not None and other.vocabulary is not None and own.vocabulary != other.vocabulary:
        moved = sum(other.vocabulary.get(token) not in (None, n) for token, n in own.vocabulary.items())
        lacking = len(own.vocabulary.keys() - other.vocabulary.keys())
        extra = len(other.vocabulary.keys() - own.vocabulary.keys())
        found.append(
            f"{name} has another vocabulary: {lacking} of the run's tokens are not in it, {extra} of its tokens are"
            f" not in the run's, {moved} have another id; rows are matched by token"
        )
    if own.rows != other.rows:
        found.append(f"{name} has {other.rows} embedding rows, the run's model {own.rows}; rows are matched by token")
    if own.dtype != other.dtype:
        found.append(f"{name} is stored in {other.dtype}, the run's model in {own.dtype}")
    if own.tied != other.tied:
        untied = name if own.tied else "the run's model"
        found.append(f"{untied} has output weights of its own (untied): so has the result")
    pairs = [(key, _setting(own.config, key), _setting(other.config, key)) for key in _BEHAVIOUR_KEYS]
    said = [pair for pair in pairs if None not in pair]
    # Here nothing is a value too: no window, no scaling.
    said.append(("rope_scaling", _rope_scaling(own.config), _rope_scaling(other.config)))
    if "sliding_window" in own.config and "sliding_window" in other.config:
        said.append(("sliding_window", _window(own.config), _window(other.config)))
    for key, mine, theirs in said:
        if mine != theirs:
            found.append(f"{name} has {_shown(key, theirs)}; the result keeps the run's {_shown('', mine)}")
    return found


def _shown(key: str, value: Any) -> str:
    values = value.items() if isinstance(value, dict) else [("", value)]
    # A long rope has a factor for every pair of dimensions.
    told = [(name, f"of {len(one)} values" if isinstance(one, list) and len(one) > 4 else one) for name, one in values]
    text = ", ".join(f"{name} {one}".strip() for name, one in told if one is not None)
    return f"{key} {text or 'none'}".strip()


def _setting(config: Mapping[str, Any], key: str) -> Any:
    nested = config.get("rope_parameters") or {}
    return config.get(key, nested.get(key) if isinstance(nested, dict) else None)


def _rope_scaling(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a model's rope is stretched, under transformers 5's names; empty where it is not."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(said, dict):
        return {}
    kind = said.get("rope_type", said.get("type"))
    if kind in (None, "default"):
        return {}
    kept = {key: value for key, value in said.items() if key not in _ROPE_NOT_SCALING and value is not None}
    return {"rope_type": kind, **kept}


def _window(config: Mapping[str, Any]) -> int | None:
    window = config.get("sliding_window")
    return window if isinstance(window, int) and config.get("use_sliding_window", True) else None


def other_template(own: ModelFacts, other: ModelFacts) -> bool:
    """Return whether the partner was trained with another chat template than the run's model."""
    return other.chat_template is not None and other.chat_template != own.chat_template


def lost_tokens(own: ModelFacts, base: ModelFacts) -> list[str]:
    """Return the run's tokens that the base's vocabulary lacks or has under another id, where both can be read."""
    if own.vocabulary is None or base.vocabulary is None:
        return []
    return sorted(token for token, number in own.vocabulary.items() if base.vocabulary.get(token) != number)
