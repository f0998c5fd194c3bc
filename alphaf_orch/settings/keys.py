"""Legal recipe keys: axolotl's as recorded from it, the DPO program's as it defines them."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import SCHEMAS
from alphaf_orch.core.values import nearest, parse_value
from alphaf_orch.programs.dpo_config import DpoConfig

# What the plan fills in; a recipe or --set has no say in it.
_NOT_IN_RECIPES = {"base_model", "output_dir", "datasets", "probe", "trust_remote_code"}
_JSON_NAMES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    type(None): "null",
}

# What the plan sets in an SFT recipe: another value would lose outputs, lineage or a later stage's input.
_SET_BY_THE_PLAN = {
    "base_model": "--model",
    "revision_of_model": "base_revision in the config",
    "model_revision": "base_revision in the config",
    "datasets": "--data, or datasets in the config",
    "output_dir": "--run and ALPHAF_RUNS",
    "dataset_prepared_path": "--run and ALPHAF_RUNS",
    "lora_model_dir": "--run",
    "trust_remote_code": "--trust-remote-code",
    "resume_from_checkpoint": "the same command again: it resumes by itself",
    "auto_resume_from_checkpoints": "the same command again: it resumes by itself",
    "rl": "alphaf dpo",
    "save_safetensors": "nothing: merges read safetensors",
}

# Recipe keys of ours: they choose what of templates/engines/ is laid over the recipe, and are not rendered into it.
ENGINE_KEYS: dict[str, dict[str, Any]] = {
    "engine": {"types": ["string", "null"], "enum": ["ddp", "fsdp2", "zero2", "zero3", "hsdp"]},
    "engine_offload": {"types": ["boolean", "null"]},
}


@cache
def axolotl_keys() -> dict[str, dict[str, Any]]:
    """Return every key of the pinned axolotl: {"types": JSON types, [] for any; "enum": allowed strings}."""
    record = json.loads((SCHEMAS / "axolotl.json").read_text(encoding="utf-8"))
    keys: dict[str, dict[str, Any]] = record["keys"]
    return keys


@cache
def dpo_keys() -> dict[str, dict[str, Any]]:
    """Return every key of the DPO program that a recipe may set, in the same form, read from its own definition."""
    hints = typing.get_type_hints(DpoConfig)
    return {name: _json_kinds(hint) for name, hint in hints.items() if name not in _NOT_IN_RECIPES}


def known_keys(section: str) -> dict[str, dict[str, Any]]:
    """Return the keys that the recipe of a section (`sft` or `dpo`) may set."""
    return (axolotl_keys() if section == "sft" else dpo_keys()) | ENGINE_KEYS


def _json_kinds(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) is Literal:
        return {"types": ["string"], "enum": list(typing.get_args(hint))}
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        parts = [_json_kinds(part) for part in typing.get_args(hint)]
        enums = [choice for part in parts for choice in part.get("enum", [])]
        return {"types": [t for part in parts for t in part["types"]]} | ({"enum": enums} if enums else {})
    plain = typing.get_origin(hint) or hint
    return {"types": [_JSON_NAMES[plain]]}


def _json_type(value: Any) -> str:
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (dict, "object"),
    ):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "array"


def check_key(key: str, value: Any, known: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Raise ConfigError for a key the tool would drop in silence, or a value of a type it does not take."""
    if key not in known:
        raise ConfigError(
            f"{key}{nearest(key, known) or ': no such key'}",
            where=where,
            fix="use one of the tool's own keys; see docs/configuration.md",
        )
    types, enum = known[key]["types"], known[key].get("enum")
    kind = _json_type(value)
    fits = not types or kind in types or (kind == "integer" and "number" in types)
    if fits and kind == "string" and enum and value not in enum:
        raise ConfigError(
            f"{key} is {value!r}{nearest(str(value), enum)}",
            where=where,
            fix=f"use one of: {', '.join(enum)}",
        )
    if not fits:
        wanted = " or ".join(t for t in types if t != "null")
        raise ConfigError(f"{key} is {value!r}, which is no {wanted}", where=where, fix=f"give {key} a {wanted}")


def check_rendered(section: str, values: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for the first wrong key of a rendered recipe, where the plan's own keys stand too."""
    refuse_credentials(values, where)
    for key, value in values.items():
        if section == "sft" or key not in _NOT_IN_RECIPES:
            check_key(key, value, known_keys(section), f"{where}, key {key}")


def check_free(key: str, value: Any, where: str) -> None:
    """Raise ConfigError for an SFT key that the plan itself sets, or a value that would lose every finished training.

    Training is finished when a checkpoint stands at the planned step.
    """
    if key in _SET_BY_THE_PLAN:
        raise ConfigError(f"{key} is set by alphaf", where=where, fix=f"use {_SET_BY_THE_PLAN[key]}")
    if key == "save_strategy" and value not in ("steps", "epoch", None):
        raise ConfigError(
            f"save_strategy is {value!r}: no checkpoint would prove that the training reached its end",
            where=where,
            fix="use steps or epoch; save_total_limit bounds the disk they take",
        )
    if key == "early_stopping_patience" and value:
        raise ConfigError(
            "early_stopping_patience would end the training before its planned step, as a crash does",
            where=where,
            fix="set num_epochs or max_steps; eval_loss is logged every eval_steps",
        )


def parse_set(items: Iterable[str], *, default: str) -> dict[str, dict[str, Any]]:
    """Return {"sft": {...}, "dpo": {...}} from `key=value` options, each key known and each value of its type.

    `sft.` and `dpo.` say which recipe is meant, `default` says it for a bare key. A dotted rest goes into a
    nested mapping (`special_tokens.pad_token=</s>`).
    """
    found: dict[str, dict[str, Any]] = {"sft": {}, "dpo": {}}
    for item in items:
        where = f"--set {item}"
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{item!r} is not key=value", where=where, fix="write for example --set lora_r=64")
        section, dot, rest = name.strip().partition(".")
        if not dot or section not in found:
            section, rest = default, name.strip()
        known = known_keys(section)
        top, *nested = rest.split(".")
        refuse_credentials({rest: parse_value(text)}, "--set")
        if top not in known and section == default and default == "sft" and top in dpo_keys():
            raise ConfigError(f"{top}: did you mean dpo.{top}?", where=where, fix=f"write --set dpo.{item}")
        value = parse_value(text)
        for part in reversed(nested):
            value = {part: value}
        check_key(top, value, known, where)
        if section == "sft":
            check_free(top, value, where)
        if nested and isinstance(found[section].get(top), dict):
            value = {**found[section][top], **value}
        found[section][top] = value
    return found


def check_section(section: str, values: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for the first key of a `sft:` or `dpo:` mapping that is unknown or of a wrong type."""
    known = known_keys(section)
    for key, value in values.items():
        check_key(key, value, known, f"{where}, key {section}.{key}")
        if section == "sft":
            check_free(key, value, f"{where}, key {section}.{key}")
