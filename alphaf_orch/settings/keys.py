"""Legal recipe keys and values: axolotl's as recorded from it, the DPO program's as it defines them, our ranges."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.several import found_in, raise_all
from alphaf_orch.core.values import nearest, parse_value
from alphaf_orch.core.yaml_files import place_of
from alphaf_orch.programs.dpo_config import DpoConfig
from alphaf_orch.settings import plugins
from alphaf_orch.settings.engine_keys import ENGINE_KEYS
from alphaf_orch.settings.owned import check_free
from alphaf_orch.settings.ranges import DPO, SFT, Range, from_limits, no_number
from alphaf_orch.settings.texts import check_depth, check_texts

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
_NUMBERS = {"integer", "number"}
# A name that axolotl's schema takes as none; transformers' trainer does not (training_args.py, OptimizerNames).
_NEEDED_NAMES = {"optimizer"}
ADAPTERS = ("qlora", "lora", "full")  # each an SFT recipe of its own; axolotl's name for full is null
FALLBACK = "tokenizer_default_fallback_"  # before the chat template that is taken where the tokenizer has none


@cache
def axolotl_keys() -> dict[str, dict[str, Any]]:
    """Return every key of the pinned axolotl.

    {"types": JSON types, [] for any; "enum": allowed texts; "patterns": of further ones; "range": a Range of numbers}.
    """
    schedulers = [
        *plugins.record()["transformers"]["lr_scheduler"],
        "one_cycle",
        "rex",
    ]  # axolotl/core/builders/base.py
    keys = {key: _with_range(entry, SFT.get(key)) for key, entry in plugins.record()["keys"].items()}
    keys["lr_scheduler"] = {**keys["lr_scheduler"], "enum": sorted(schedulers)}
    keys["adapter"] = {**keys["adapter"], "enum": list(ADAPTERS)}
    for key in _NEEDED_NAMES:
        keys[key] = {**keys[key], "types": [kind for kind in keys[key]["types"] if kind != "null"]}
    return keys


@cache
def dpo_keys() -> dict[str, dict[str, Any]]:
    """Return every key of the DPO program that a recipe may set, in the same form, read from its own definition."""
    hints = typing.get_type_hints(DpoConfig, include_extras=True)
    keys = {
        name: _with_range(_json_kinds(hint), DPO.get(name))
        for name, hint in hints.items()
        if name not in _NOT_IN_RECIPES
    }
    for key, names in plugins.record()["transformers"].items():
        keys[key] = {**keys[key], "enum": names}
    return keys


def known_keys(section: str, named: Iterable[str] = ()) -> Mapping[str, Mapping[str, Any]]:
    """Return the keys that the recipe of a section (`sft` or `dpo`) may set, those of the named plugins too."""
    return _known(section, tuple(named))


@cache
def _known(section: str, named: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    if section != "sft":
        return dpo_keys() | ENGINE_KEYS
    added = {key: _with_range(entry, None) for key, entry in plugins.keys_of(named).items()}
    return axolotl_keys() | ENGINE_KEYS | added


def _with_range(entry: Mapping[str, Any], own: Range | None) -> dict[str, Any]:
    """Return the entry with the range of its numbers: ours, else that of its own limits."""
    if not _NUMBERS & set(entry["types"]):
        return dict(entry)
    limits = entry.get("limits", {})
    found = own or from_limits(limits, also=entry.get("also", ()))
    kinds = [kind for kind in entry["types"] if kind != "null" or found.null]
    return {**{k: v for k, v in entry.items() if k not in ("limits", "also")}, "types": kinds, "range": found}


def _json_kinds(hint: Any) -> dict[str, Any]:
    """Return the types, choices and limits that a type of the DPO program's definition stands for."""
    if typing.get_origin(hint) is typing.Annotated:
        plain, *said = typing.get_args(hint)
        limits: dict[str, float] = {}
        for field in said:
            for rule in getattr(field, "metadata", ()):
                limits |= {name: getattr(rule, name) for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)}
        filled = any(hasattr(rule, "min_length") for field in said for rule in getattr(field, "metadata", ()))
        return _json_kinds(plain) | ({"limits": limits} if limits else {}) | ({"filled": True} if filled else {})
    if typing.get_origin(hint) is Literal:
        numbers = [choice for choice in typing.get_args(hint) if not isinstance(choice, str)]
        return {"types": ["integer"], "also": numbers} if numbers else _choices(typing.get_args(hint))
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        parts = [_json_kinds(part) for part in typing.get_args(hint)]
        joined: dict[str, Any] = {"types": list(dict.fromkeys(kind for part in parts for kind in part["types"]))}
        for part in parts:
            joined |= {name: value for name, value in part.items() if name != "types"}
        return joined
    return {"types": [_JSON_NAMES[typing.get_origin(hint) or hint]]}


def _choices(names: Sequence[str]) -> dict[str, Any]:
    return {"types": ["string"], "enum": list(names)}


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
    """Raise ConfigError for a key the tool would drop in silence, or a value that it does not take."""
    if key not in known:
        plugins.refuse_unnamed(key, where)
        raise ConfigError(
            f"{key}{nearest(key, known) or ': no such key'}",
            where=where,
            fix="use one of the tool's own keys; see docs/configuration.md",
            code="config.unknown_key",
        )
    entry = known[key]
    kind = _json_type(value)
    if entry["types"] and kind not in entry["types"] and not (kind == "integer" and "number" in entry["types"]):
        raise _no_such_type(key, value, entry, where)
    if kind == "string":
        _check_name(key, value, entry, where)
    if kind in _NUMBERS and "range" in entry and not entry["range"].takes(value):
        span = numbers_of(entry)
        raise ConfigError(
            f"{key} is {value!r}, and takes {span}",
            where=where,
            fix=f"give {key} {span}",
            code="config.out_of_range",
        )
    if entry.get("filled") and not value:
        raise ConfigError(f"{key} is empty", where=where, fix=f"put at least one into {key}", code="config.no_value")
    check_texts(key, value, where)
    if no_number(value):
        raise ConfigError(
            f"{key} has a number that is none or infinite: {value!r}",
            where=where,
            fix="give a number",
            code="config.not_finite",
        )


def numbers_of(entry: Mapping[str, Any]) -> str:
    """Return which numbers a key takes, in words."""
    span: str = entry["range"].told(whole="number" not in entry["types"])
    return f"{span}, or null" if "null" in entry["types"] else span


def _no_such_type(key: str, value: Any, entry: Mapping[str, Any], where: str) -> ConfigError:
    wanted = " or ".join(kind for kind in entry["types"] if kind != "null")
    if "range" in entry and set(entry["types"]) <= {*_NUMBERS, "null"}:
        span = numbers_of(entry)
        fix = f"give {key} {span}"
    else:
        fix = f"give {key} a value of the type {wanted}"
        fix = f"{fix}, one of: {', '.join(entry['enum'])}" if "enum" in entry else fix
    said = f"{key} has no value" if value is None else f"{key} is {value!r}, which is no {wanted}"
    if value is False and "no" in entry.get("enum", ()):
        fix = f'YAML takes no for false: write {key}: "no"'
    return ConfigError(said, where=where, fix=fix, code="config.no_value" if value is None else "config.wrong_type")


def _check_name(key: str, value: str, entry: Mapping[str, Any], where: str) -> None:
    names = entry.get("enum", ())
    if not names or value in names:
        return
    fits = any(re.search(pattern, value) for pattern in entry.get("patterns", ()))
    if fits and (not value.startswith(FALLBACK) or value.removeprefix(FALLBACK) in names):
        return
    what = f"{key} is {value!r}, none of its values{nearest(value, names)}"
    raise ConfigError(what, where=where, fix=f"use one of: {', '.join(names)}", code="config.unknown_value")


def check_rendered(section: str, values: Mapping[str, Any], where: str, text: str = "") -> None:
    """Raise ConfigError for the first wrong key of a rendered recipe, where the plan's own keys stand too.

    `where` is its template and `text` what came of it, of which every line stands where the template has it.
    """
    refuse_credentials(values, where)
    named = plugins.named_in(values.get("plugins"))
    for key, value in values.items():
        if section == "sft" or key not in _NOT_IN_RECIPES:
            before, found, _ = f"\n{text}".partition(f"\n{key}:")
            line = f" line {before.count(chr(10)) + 1}" if found else ""
            _check(section, Said(key, value, f"{where}{line}, key {key}"), named)


class Said(NamedTuple):
    """One key of a recipe as somebody set it, and where."""

    key: str
    value: Any
    where: str


def _check(section: str, said: Said, named: Sequence[str]) -> None:
    """Raise ConfigError for a key or a value that a recipe cannot have, by which plugins are named."""
    known = known_keys(section, named)
    if section == "sft" and said.key == "plugins":
        plugins.check_plugins(said.value, said.where)
    if section == "sft" and said.key not in known and plugins.foreign(named):
        plugins.refuse_unnamed(said.key, said.where)
        return  # a key of a plugin that nobody here knows: axolotl itself is asked before anything is launched
    check_key(said.key, said.value, known, said.where)


def parse_set(items: Iterable[str], *, default: str, named: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return {"sft": {...}, "dpo": {...}} from `key=value` options, each key known and each value of its type.

    `sft.` and `dpo.` say which recipe is meant, `default` says it for a bare key. A dotted rest goes into a
    nested mapping (`special_tokens.pad_token=</s>`). `named` are the plugins of the settings that the options are laid
    over, unless they name plugins themselves; None: not known yet, so that a key of any plugin of axolotl's passes.
    """
    found: dict[str, dict[str, Any]] = {"sft": {}, "dpo": {}}
    split: list[tuple[str, Said, bool]] = []
    wrong = found_in(partial(_split_into, split, item, default) for item in items)
    own = [said.value for section, said, _ in split if (section, said.key) == ("sft", "plugins")]
    named = plugins.named_in(own[-1]) if own else tuple(plugins.axolotls()) if named is None else named
    wrong += found_in(partial(_add, found, each, default, named) for each in split)
    raise_all(wrong)
    return found


def _split_into(split: list[tuple[str, Said, bool]], item: str, default: str) -> None:
    split.append(_split(item, default))


def _add(found: dict[str, dict[str, Any]], item: tuple[str, Said, bool], default: str, named: Sequence[str]) -> None:
    """Put one option to those of its section; raise ConfigError where its key is none or its value is not taken."""
    section, said, nested = item
    said = _as_said(section, said, named)
    if said.key not in known_keys(section, named) and section == default == "sft" and said.key in dpo_keys():
        raise ConfigError(
            f"{said.key}: did you mean dpo.{said.key}?", where=said.where,
            fix=f"write --set dpo.{said.where.removeprefix('--set ')}", code="config.unknown_key",
        )  # fmt: skip
    _check(section, said, named)
    if not said.where.partition("=")[2].strip():
        fix = f"write {said.where.removeprefix('--set ').strip()}null to leave it to the tool"
        raise ConfigError(f"{said.key} has no value", where=said.where, fix=fix, code="config.no_value")
    if section == "sft":
        check_free(said.key, said.value, said.where)
    top, value = said.key, said.value
    if nested and isinstance(found[section].get(top), dict):
        value = {**found[section][top], **value}
    found[section][top] = value


def _as_said(section: str, said: Said, named: Sequence[str]) -> Said:
    """Return the option with its text as its value where YAML makes a truth of a name: `eval_strategy=no`."""
    types = known_keys(section, named).get(said.key, {}).get("types", ())
    named_only = "string" in types and "boolean" not in types
    return (
        said._replace(value=said.where.partition("=")[2].strip())
        if named_only and isinstance(said.value, bool)
        else said
    )


def _split(item: str, default: str) -> tuple[str, Said, bool]:
    """Return the section, the key with its value, and whether that goes into a mapping, of one `key=value`."""
    where = f"--set {item}"
    name, equals, text = item.partition("=")
    if not equals or not name.strip():
        raise ConfigError(
            f"{item!r} is not key=value",
            where=where,
            fix="write for example --set lora_r=64",
            code="config.not_key_value",
        )
    section, dot, rest = name.strip().partition(".")
    if not dot or section not in ("sft", "dpo"):
        section, rest = default, name.strip()
    top, *nested = rest.split(".")
    check_depth(nested, where)
    value = parse_value(text)
    refuse_credentials({rest: value}, "--set")
    for part in reversed(nested):
        value = {part: value}
    return section, Said(top, value, where), bool(nested)


def check_section(
    section: str, values: Mapping[str, Any], where: str | Path, named: Sequence[str] | None = None
) -> None:
    """Raise ConfigError for the keys of a `sft:` or `dpo:` mapping that are unknown, or whose values are not taken.

    `where` is the file that has the mapping, or says in words where it is; `named` are the plugins that the settings
    name in all, those of the mapping itself unless they are given.
    """
    named = plugins.named_in(values.get("plugins")) if named is None else named
    raise_all(found_in(partial(_check_said, section, key, value, where, named) for key, value in values.items()))


def _check_said(section: str, key: str, value: Any, where: str | Path, named: Sequence[str]) -> None:
    said = Said(key, value, f"{where}, key {section}.{key}")
    try:
        _check(section, said, named)
        if section == "sft":
            check_free(key, value, said.where)
    except ConfigError as error:
        if isinstance(where, str):
            raise
        place = place_of(where, (section, key))
        raise ConfigError(error.what, where=place, fix=error.fix, code=error.code) from None
