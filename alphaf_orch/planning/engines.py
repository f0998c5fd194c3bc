"""How several GPUs train one model together: which engine, what its template adds to a recipe, which file it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.names import expanded
from alphaf_orch.core.paths import RunPaths, find_template
from alphaf_orch.core.render import Rendered, render
from alphaf_orch.core.small_files import parse_json, small_text
from alphaf_orch.settings.engine_keys import ENGINE_KEYS
from alphaf_orch.settings.keys import check_key

# What an engine's template may hold: axolotl's keys for any recipe, for one adapter, and with engine_offload;
# DeepSpeed's JSON, and what engine_offload changes in it.
_SECTIONS = ("recipe", "qlora", "lora", "full", "offload", "deepspeed", "deepspeed_offload")
_BELOW = {"hsdp": ("fsdp2",)}  # engines whose values hold for another too
# Keys that are an engine's. In a fingerprint they stand beside its name, by which a change is told; the sizes follow
# the number of GPUs, and `deepspeed` is a place.
OWN_KEYS = frozenset({"fsdp_version", "fsdp_config", "accelerator_config", "fp32_master_weights"})
PLACES = frozenset({"dp_shard_size", "dp_replicate_size", "deepspeed"})

Layer = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Engine:
    """The engine of a training, why it is this one, and whether it puts to the CPU what it can."""

    name: str = "ddp"
    reason: str = ""
    offload: bool = False
    began: bool = False  # the run trained with it before it laid anything over a recipe


DDP = Engine()


@dataclass(frozen=True)
class Laid:
    """What an engine adds to a stage: layers over the recipe, and the file that the recipe names."""

    layers: Sequence[Layer] = ()
    files: Mapping[Path, Rendered] = field(default_factory=dict)


def said(layers: Sequence[Layer]) -> Engine:
    """Return the engine that the layers ask for, the last one winning; its name is "" where none of them does.

    Raises ConfigError for a value that no engine has.
    """
    found: dict[str, tuple[Any, str]] = {}
    for who, layer in layers:
        for key in ENGINE_KEYS.keys() & layer.keys():
            check_key(key, layer[key], ENGINE_KEYS, f"{who}, key {key}")
            found[key] = (layer[key], who)
    name, who = found.get("engine", (None, ""))
    offload = bool(found.get("engine_offload", (False, ""))[0])
    return Engine(name or "", f"asked for by {who}" if name else "", offload)


def laid(
    engine: Engine, folders: tuple[Path, ...], paths: RunPaths, adapter: str, shape: Mapping[str, int], own: Any
) -> Laid:
    """Return the layers and the file of an engine; `shape` is what its template may name, `own` a `deepspeed` of yours.

    Raises ConfigError for a template with a section that no engine has, and for a file of yours that is no JSON.
    """
    if engine.name == "ddp" and (adapter != "full" or engine.began or not shape["gpus"]):
        return Laid()
    parts: dict[str, Any] = {}
    for template in templates(engine.name, folders):
        above = render(template, shape).values
        for name in above.keys() - set(_SECTIONS):
            raise ConfigError(
                f"{name}: an engine has no such section",
                where=str(template),
                fix=f"use {', '.join(_SECTIONS)}",
                code="config.unknown_key",
            )
        parts = _merged(parts, above)
    wanted = ("recipe", adapter, *(("offload",) if engine.offload else ()))
    values = _merged(*(parts.get(name) or {} for name in wanted))
    files: dict[Path, Rendered] = {}
    if parts.get("deepspeed"):
        # axolotl looks for `zero3` in the name (axolotl/utils/schemas/validation.py:653).
        place = paths.rendered(f"{engine.name}.json")
        config = _merged(parts["deepspeed"], (parts.get("deepspeed_offload") or {}) if engine.offload else {})
        config = _of_yours(own, config)
        files[place] = Rendered(json.dumps(config, indent=2) + "\n", config)
        values["deepspeed"] = str(place)
    name = f"engine {engine.name}"
    if not values:
        return Laid()
    first = next(iter(values))
    reason = f"{name}, {engine.reason}" if engine.reason else name
    return Laid([(reason, {first: values.pop(first)}), (name, values)], files)


def templates(name: str, folders: tuple[Path, ...]) -> list[Path]:
    """Return the templates of an engine, each laid over those before it."""
    return [find_template(folders, f"engines/{each}.yaml.j2") for each in (*_BELOW.get(name, ()), name)]


def _of_yours(own: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return DeepSpeed's config: yours where you name a file, ours with what you set in it where you give a mapping."""
    if not own:
        return config
    if isinstance(own, Mapping):
        return _merged(config, own)
    fix = "name a JSON file of DeepSpeed's, or set single keys: --set deepspeed.zero_optimization.stage=2"
    try:
        given = parse_json(small_text(expanded(own), subject="deepspeed: the file is "))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"deepspeed: {error}", where=f"key sft.deepspeed: {own}", fix=fix, code="config.invalid_json"
        ) from None
    if not isinstance(given, dict):
        raise ConfigError(
            "deepspeed: not a JSON object", where=f"key sft.deepspeed: {own}", fix=fix, code="config.invalid_json"
        )
    return given


def for_data(engine: Engine) -> frozenset[str]:
    """Return the keys of a recipe that the engine set and tokenised data do not depend on."""
    return frozenset({"fp32_master_weights"}) if engine.name == "ddp" else OWN_KEYS | PLACES


def spec(engine: Engine, recipe: dict[str, Any], files: Mapping[Path, Rendered]) -> dict[str, Any]:
    """Return a recipe's part of a fingerprint with the engine in place of what it renders; under DDP as it is.

    A checkpoint of one engine is none of another's.
    """
    if engine.name == "ddp":
        # null is what earlier versions trained with, who had no such key.
        return {"recipe": {key: value for key, value in recipe.items() if key != "fp32_master_weights" or value}}
    own = {key: recipe[key] for key in sorted(OWN_KEYS & recipe.keys())}
    own |= {"deepspeed": file.values for file in files.values()}  # noqa: B035  (one file, or none)
    kept = {key: value for key, value in recipe.items() if key not in OWN_KEYS | PLACES}
    offload = {"engine_offload": True} if engine.offload else {}
    return {"recipe": {**kept, "engine": engine.name, **offload}, "engine": own}


def _merged(*mappings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mappings laid over each other, mappings inside them as well."""
    found: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            below = found.get(key)
            both = isinstance(below, Mapping) and isinstance(value, Mapping)
            found[key] = _merged(below or {}, value) if both else value
    return found
