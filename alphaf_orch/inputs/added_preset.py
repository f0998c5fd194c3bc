"""A preset written from a model's own files, for a person to check: every line says where its value came from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.core.names import check_run_name, expanded, real
from alphaf_orch.core.small_files import small_text
from alphaf_orch.inputs.chat_templates import ChatTemplate, template_of
from alphaf_orch.inputs.model_files import adds_bos, read_vocabulary, split_card, template_file
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.inputs.own_model import MARKERS, generic_preset
from alphaf_orch.inputs.presets import ModelPreset, preset_names, read_preset

_WIDE = 2**31 - 1
_SHAPE = {
    "class_name": "config.json, architectures[0]",
    "layers": "config.json, num_hidden_layers",
    "hidden_size": "config.json, hidden_size",
    "intermediate_size": "config.json, intermediate_size",
    "attention_heads": "config.json, num_attention_heads",
    "kv_heads": "config.json, num_key_value_heads, else as many as attention heads",
    "vocab_size": "config.json, vocab_size, with the tokens that are added",
    "context": "config.json, max_position_embeddings; check: the length it was trained with may be shorter",
    "norm": "config.json, RMSNorm where it has rms_norm_eps",
    "rope_theta": "config.json, rope_theta",
    "tie_word_embeddings": "config.json, else whether the weights have a head of their own",
    "parameters": "computed from the values above, biases left out",
    "head_dim": "config.json, head_dim; null: hidden_size / attention_heads",
}
_RECIPE = {
    "chat_template_jinja": "ours: ChatML behind a bos, as the base reads one before every text",
    "lora_modules_to_save": "ours: the rows of added tokens have to be trained",
    "lora_target_linear": "ours: the head has another name, and LoRA on it could not be merged",
    "lora_target_modules": "the weights' own names of their linear layers",
}


@dataclass(frozen=True)
class Added:
    """A preset that was written, and what a person is to look at first."""

    preset: ModelPreset
    file: Path
    checks: tuple[str, ...]


def add_preset(model: str, name: str | None, target: Path, known: Sequence[Path]) -> Added:
    """Write `models/NAME.yaml` of a templates folder from a model's own files, and return it as it is read again.

    No code of the model is executed and nothing is fetched. Raises ModelError for a folder that is no model which can
    be trained, ConfigError for a name that is taken: nothing is overwritten.
    """
    folder = expanded(model)
    if not folder.is_dir():
        raise ModelError(
            f"{model!r} is no folder",
            where=model,
            fix="name the folder that has the model's config.json, tokenizer and weights",
            code="model.no_folder",
        )
    folder = real(folder)
    chosen = _free_name(name or re.sub(r"[^\w.-]+", "-", folder.name).strip("-."), [target / "models", *known])
    made = generic_preset(str(folder), known, os.environ)
    preset = made.model_copy(update={"name": chosen, "title": folder.name, "licence": _licence(folder)[0]})
    text, checks = _written(preset, folder)
    file = target / "models" / f"{chosen}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise _taken(chosen, file) from None
    return Added(read_preset(file), file, tuple(checks))


def _free_name(name: str, folders: Sequence[Path]) -> str:
    try:
        found = check_run_name(name)
    except ConfigError:
        raise ConfigError(
            f"{name!r} is no name for a preset",
            where="--name",
            fix="use letters, digits, '_', '-' and '.' only, starting with a letter or digit",
            code="config.bad_preset_name",
        ) from None
    there = [folder for folder in folders if os.path.lexists(folder / f"{found}.yaml")]
    if there or found in preset_names(folders):
        raise _taken(found, there[0] / f"{found}.yaml")
    return found


def _taken(name: str, file: Path) -> ConfigError:
    return ConfigError(
        f"there is a preset {name}, and nothing is overwritten",
        where=str(file),
        fix="give another name with --name",
        code="config.preset_exists",
    )


def _written(preset: ModelPreset, folder: Path) -> tuple[str, list[str]]:
    """Return the preset as YAML, a comment on every line, and what there is to check."""
    turns = _turn(preset, folder)
    checks = [
        f"licence: {_licence(folder)[1]}",
        f"chat_template: {turns}",
        f"sequence_len: {preset.sequence_len}; the base may have been trained with a shorter context",
        "sft_data, dpo_data: name your own",
    ]
    lines = [
        _comment(f"Written by `alphaf models add` from the files in {folder}; nothing of the model was executed."),
        "# Check every line, then say beside it what you saw: [V] read at its source, [I] inferred, [U] unverified.",
        _comment(f"weights: {_dtype(folder)}"),
        _comment(f"answers end: {_ends(folder)}"),
        _comment(f"turns: {turns}"),
        *_lines(preset, folder),
    ]
    return "\n".join(lines) + "\n", checks


def _lines(preset: ModelPreset, folder: Path) -> Iterator[str]:
    values = preset.model_dump()
    values |= {"tokens": list(preset.tokens) if preset.tokens else None}
    for key, comment in _comments(preset, folder).items():
        value = values[key]
        inner = {"architecture": _SHAPE, "special_tokens": _token_comments(folder), "sft": _RECIPE, "dpo": _RECIPE}.get(
            key
        )
        if inner is None or not value:
            yield _line(key, value, comment)
            continue
        yield f"{key}:  {_comment(comment)}"
        for name, each in value.items():
            yield "  " + _line(name, each, inner.get(name, "ours"))


def _line(key: str, value: Any, comment: str) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=_WIDE, sort_keys=False)
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else text.removesuffix("...\n").strip()
    return f"{key}: {shown}  {_comment(comment)}"


def _comment(text: str) -> str:
    """Return a comment of one line, whatever a file of somebody else's put into it."""
    return "# " + "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def _comments(preset: ModelPreset, folder: Path) -> Mapping[str, str]:
    template = (
        f"{template_file(folder).name} has the model's own" if preset.chat_template == "tokenizer_default" else ""
    )
    chatml = f"ours: the vocabulary has {MARKERS[1]}, or the model has no template; check: what it was trained with"
    return {
        "name": "the folder's name, or --name",
        "title": "the folder's name; say what the model is",
        "source": "ours: the weights are in a folder here",
        "base_model": "the folder; another machine needs another path, or the hub id with `source: hub`",
        "revision": "ours: a folder is known by its fingerprint",
        "trust_remote_code_required": "config.json, auto_map; check the .py files beside it where this is true",
        "licence": _licence(folder)[1],
        "architecture": "null where config.json is not that of a decoder with gated MLP",
        "chat_template": template or chatml,
        "special_tokens": "tokenizer_config.json and special_tokens_map.json",
        "tokens": "ours: the markers of ChatML where it is used and the vocabulary lacks them",
        "sequence_len": "ours: at most 4096, and no more than the context",
        "gpus": "ours: 1 GPU if there is one, else CPU",
        "sft": "the recipe's values hold but for these",
        "dpo": "the recipe's values hold but for these",
        "sft_data": "ours: name your own",
        "dpo_data": "ours: name your own",
    }


def _token_comments(folder: Path) -> Mapping[str, str]:
    before = "the tokenizer puts it before every text" if adds_bos(folder) else "no tokenizer file puts it before texts"
    return {
        "bos_token": f"tokenizer_config.json; {before}",
        "eos_token": "what ends an assistant's turn; check it against the chat template",
        "pad_token": "tokenizer_config.json, one that differs from eos, or no end would be learnt",
    }


def _dtype(folder: Path) -> str:
    config = model_json(folder / "config.json") or {}
    inner = config.get("text_config") or {}
    found = next(
        (str(each[key]) for each in (config, inner) for key in ("dtype", "torch_dtype") if each.get(key)), None
    )
    kind = config.get("model_type")
    return f"{found or 'config.json states no dtype'} (config.json), model_type {kind}"


def _ends(folder: Path) -> str:
    """Return by which tokens the model's own files end an answer."""
    texts = {number: text for text, number in (read_vocabulary(folder) or {}).items()}
    for name in ("generation_config.json", "config.json"):
        said = (model_json(folder / name) or {}).get("eos_token_id")
        numbers = said if isinstance(said, list) else [said] if isinstance(said, int) else []
        if numbers:
            named = ", ".join(f"{texts.get(number, '?')} ({number})" for number in numbers)
            return f"{named} ({name}, eos_token_id)"
    return "no file says by which token (eos_token_id)"


def _turn(preset: ModelPreset, folder: Path) -> str:
    """Return how the chat template closes an assistant's turn and what it does with a system turn, in words."""
    settings = {
        "chat_template": preset.chat_template,
        "special_tokens": preset.special_tokens.model_dump(),
        **preset.sft,
    }
    template: ChatTemplate | None = template_of({**settings, "tokens": preset.tokens}, folder)
    if template is None:
        return f"{preset.chat_template}; it could not be rendered with plain turns: check it"
    system = "takes" if template.takes_system and not template.drops_system else "does not take"
    return f"{template.name}; a turn ends in {template.end or 'no token: check it'}; it {system} a system turn"


def _licence(folder: Path) -> tuple[str, str]:
    """Return the licence that the folder's card states, and where that was read."""
    card = folder / "README.md"
    if card.is_file():
        try:
            found = split_card(small_text(card))[0].get("license")
        except (yaml.YAMLError, ConfigError):
            found = None
        if isinstance(found, str) and found:
            return found, "README.md, license; check: it may have conditions"
    there = next((file.name for file in sorted(folder.glob("LICENSE*"))), None)
    return "read the model's own licence", f"{there or 'no file'} states it; check: read it"
