"""The preset of a model that has none: the generic recipe, filled from the model's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.names import expanded, real
from alphaf_orch.core.values import Mistake, validated
from alphaf_orch.inputs.hub_cache import is_repo_id, snapshot
from alphaf_orch.inputs.model_files import (
    added_tokens,
    adds_bos,
    brings_code,
    read_template,
    read_vocabulary,
    special_tokens,
)
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.inputs.model_kinds import require_kind
from alphaf_orch.inputs.presets import ModelPreset, first_file, read_preset
from alphaf_orch.inputs.weights_layout import has_head, has_renamed_head, linear_modules
from alphaf_orch.programs.tokenizer_files import COMPLETE

MARKERS = ("<|im_start|>", "<|im_end|>")
# What the DPO recipe adapts: every linear layer of Llama and Qwen2.
LLAMA_LINEAR = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
# axolotl's chatml behind a bos, for a base that read one before every text.
BOS_CHATML = (
    "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def generic_preset(
    path_or_hub_id: str, folders: Sequence[Path], env: Mapping[str, str], template: str | None = None
) -> ModelPreset:
    """Return the generic recipe filled from the model's own files, where these are on this machine.

    `template` is the chat template that the user asks for: with chatml a model of other markers gets its markers added.
    A hub id that is not in the cache leaves architecture and special tokens unknown: call again once fetched.
    Raises ModelError for a folder without a usable config.json, a model of a kind that is not trained here, and a
    tokenizer that is not there or has no token to pad with.
    """
    recipe = read_preset(first_file("generic.yaml", folders))
    local = expanded(path_or_hub_id)
    if not local.is_dir() and (local.is_file() or not is_repo_id(path_or_hub_id)):
        file, neither = "is a file, not a model's folder", "is neither a folder nor a hub id"
        raise ModelError(
            f"{path_or_hub_id!r} {file if local.is_file() else neither}",
            where=f"--model {path_or_hub_id}",
            fix="give the path of a folder with config, tokenizer and weights, or a hub id such as ORG/NAME",
            code="model.not_found",
        )
    if local.is_dir():
        folder: Path | None = real(local)
        named = {"name": real(local).name, "source": "local", "base_model": str(folder)}
    else:
        folder = snapshot(path_or_hub_id, "model", None, env)
        named = {"name": path_or_hub_id.split("/")[1], "source": "hub", "base_model": path_or_hub_id}
    facts = _facts_of(folder, recipe, template) if folder is not None else {}
    values = {**recipe.model_dump(), **named, "title": path_or_hub_id, **facts}
    return validated(ModelPreset, values, lambda found: _no_preset(folder, found))


def _no_preset(folder: Path | None, found: Mistake) -> ModelError:
    what = f"the model's files describe no model that can be trained: {found.key}: {found.message.lower()}"
    return ModelError(
        what, where=f"{folder}/config.json", fix="copy the file again, or correct it", code="model.config_unusable"
    )


def _facts_of(folder: Path, recipe: ModelPreset, template: str | None) -> dict[str, Any]:
    """Return the preset's values that a model folder's own files decide."""
    require_kind(folder)
    config = model_json(folder / "config.json") or {}  # require_kind saw to it
    chat = _chat_facts(folder, template)
    # Some configs leave the key out where it is their class's default, true (Gemma) or false.
    tied = bool(config.get("tie_word_embeddings", not has_head(folder)))
    architecture = _architecture_of(config, added=len(chat["tokens"] or ()), tied=tied)
    facts: dict[str, Any] = {
        "architecture": architecture,
        "trust_remote_code_required": brings_code(config),
        "sequence_len": min(recipe.sequence_len, architecture["context"] if architecture else 2048),
        **chat,
    }
    sft: dict[str, Any] = {**recipe.sft}
    if chat["chat_template"] == "jinja":
        sft["chat_template_jinja"] = BOS_CHATML
    if chat["tokens"]:
        # axolotl demands it when tokens are added: their new rows must be trained.
        sft["lora_modules_to_save"] = ["embed_tokens", "lm_head"]
    linear = linear_modules(folder)
    if has_renamed_head(folder):
        if chat["tokens"]:
            raise ModelError(
                "the model needs ChatML's markers added, and their rows in its head (embed_out) cannot be merged",
                where=str(folder),
                fix="use a model whose vocabulary has <|im_end|>, or one with a chat template of its own",
                code="model.not_supported",
            )
        # axolotl knows the head by its old name only: it would put LoRA on it, which cannot be merged back.
        sft |= {"lora_target_linear": False, "lora_target_modules": list(linear)}
    if linear and linear != LLAMA_LINEAR:
        # Others name them otherwise: TRL would adapt those few that happen to match, or end when SFT is done.
        facts["dpo"] = {**recipe.dpo, "lora_target_modules": list(linear)}
    return {**facts, "sft": sft}


def _architecture_of(config: Mapping[str, Any], *, added: int, tied: bool) -> dict[str, Any] | None:
    """Return the shape config.json describes, or None where it is not that of a decoder with gated MLP.

    parameters leaves biases out: below 0.1% in the models we know.
    """
    named = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    if not all(isinstance(config.get(key), int) for key in named):
        return None
    layers, hidden, intermediate, heads, vocab_size = (int(config[key]) for key in named)
    vocab_size += added
    kv_heads, head_dim = config.get("num_key_value_heads") or heads, config.get("head_dim") or hidden // heads
    if not isinstance(kv_heads, int) or not isinstance(head_dim, int):
        return None
    attention = 2 * hidden * head_dim * (heads + kv_heads)
    per_layer = attention + 3 * hidden * intermediate + 2 * hidden
    embeddings = vocab_size * hidden * (1 if tied else 2)
    rope = config.get("rope_parameters") or {}
    return {
        "class_name": (config.get("architectures") or ["unknown"])[0],
        "layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "attention_heads": heads,
        "kv_heads": kv_heads,
        "head_dim": None if head_dim * heads == hidden else head_dim,
        "vocab_size": vocab_size,
        "context": config.get("max_position_embeddings") or config.get("seq_length") or 2048,
        # Orion's config.json calls the eps of its LayerNorms rms_norm_eps.
        "norm": "RMSNorm" if "rms_norm_eps" in config and config.get("model_type") != "orion" else "LayerNorm",
        "rope_theta": config.get("rope_theta") or rope.get("rope_theta"),
        "tie_word_embeddings": tied,
        "parameters": embeddings + layers * per_layer + hidden,
    }


def _chat_facts(folder: Path, asked: str | None) -> dict[str, Any]:
    """Return chat template, special tokens and tokens to add that fit the folder's tokenizer.

    ChatML where it is asked for, its end marker is in the vocabulary, or the model has no template; else its own.
    Behind a bos where the base reads one before every text, unless its makers' own template has none.
    """
    if not any(all((folder / name).is_file() for name in group) for group in COMPLETE):
        raise ModelError(
            "the folder has no tokenizer",
            where=f"{folder}: none of {', '.join(' + '.join(group) for group in COMPLETE)}",
            fix="copy the tokenizer's files there from the model it was made from",
            code="model.tokenizer_missing",
        )
    known = read_vocabulary(folder)
    vocabulary = added_tokens(folder) if known is None else known  # tokenizer.model's pieces only a library can read
    own, template = _named_tokens(folder, vocabulary), read_template(folder)
    chatml = asked == "chatml" or MARKERS[1] in vocabulary or not template
    bos = own["bos"] and ("bos_token" in template or own["bos"] in template if template else adds_bos(folder))
    eos = MARKERS[1] if chatml else own["eos"]
    # A pad that equals eos would be masked out of the loss: the model would never learn to stop.
    pad = next((own[k] for k in ("pad", "eos", "unk", "bos") if own[k] and own[k] != eos), None)
    if eos is None or pad is None:
        lacking = "eos token" if eos is None else "token to pad with that differs from eos"
        raise ModelError(
            f"the tokenizer has no {lacking}",
            where=str(folder / "tokenizer_config.json"),
            fix="write a preset for the model that names special_tokens, and pass its name as --model",
            code="model.token_missing",
        )
    return {
        "chat_template": ("jinja" if bos else "chatml") if chatml else "tokenizer_default",
        "special_tokens": {"bos_token": own["bos"], "eos_token": eos, "pad_token": pad},
        # With <|im_end|> alone the start marker is spelt in pieces: a new row would need trained embeddings.
        "tokens": MARKERS if chatml and MARKERS[1] not in vocabulary else None,
    }


def _named_tokens(folder: Path, vocabulary: Mapping[str, int]) -> dict[str, str | None]:
    """Return the tokenizer's bos, eos, pad and unk; an eos that no file names by the id that the model ends with."""
    named = special_tokens(folder)
    found = {kind: named.get(f"{kind}_token") for kind in ("bos", "eos", "pad", "unk")}
    texts = {number: text for text, number in vocabulary.items()}
    for file in ("generation_config.json", "config.json"):
        number = (model_json(folder / file) or {}).get("eos_token_id")
        # A list names every token that ends an answer; the first is the tokenizer's own.
        number = number[0] if isinstance(number, list) and number else number
        found["eos"] = found["eos"] or (texts.get(number) if isinstance(number, int) else None)
    return found
