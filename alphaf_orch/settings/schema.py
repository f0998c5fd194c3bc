"""The JSON schemas of a config and of a site's profile, with what recipes, merges and trackers take inside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alphaf_orch.core.json_schema import Schema, closed, described, of_model, one_of, texts_of
from alphaf_orch.programs.dpo_config import DpoConfig
from alphaf_orch.programs.tracker_keys import KEYS
from alphaf_orch.settings import merge, plugins
from alphaf_orch.settings.clusters import SCHEDULERS, Profile
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.engine_keys import ENGINE_ABOUT
from alphaf_orch.settings.keys import FALLBACK, axolotl_keys, known_keys
from alphaf_orch.settings.owned import NO_ENDS, SET_BY_THE_PLAN
from alphaf_orch.settings.ranges import Range
from alphaf_orch.settings.texts import MAPS_OF_TEXTS, TEXTS

# What axolotl says of none of its own, and people set most.
_ABOUT = {
    "adapter": "What is trained: LoRA on 4-bit weights (qlora), LoRA (lora), or all weights (full).",
    "learning_rate": "The highest learning rate; 2e-4 is read as the number it is.",
    "lr_scheduler": "How the learning rate falls.",
    "num_epochs": "How often all rows are read.",
    "lora_r": "The rank of LoRA's matrices.",
    "lora_alpha": "LoRA's scale is lora_alpha / lora_r; it follows lora_r where somebody sets that alone.",
    "lora_dropout": "The share of LoRA's inputs that is dropped.",
    "lora_target_modules": "The layers that get LoRA.",
    "save_strategy": "When checkpoints are saved.",
    "early_stopping_patience": "Left out: it would end a training before its planned step.",
    "dataloader_num_workers": "Processes that load rows.",
    "neftune_noise_alpha": "NEFTune's noise on the embeddings.",
    "use_wandb": "Whether Weights & Biases is written to.",
    "use_mlflow": "Whether MLflow is written to.",
    "use_trackio": "Whether trackio is written to.",
    "use_ray": "Whether Ray starts the ranks.",
    "wandb_watch": "Whether wandb records gradients.",
    "fp32_master_weights": "Whether weights are kept in float32 beside bf16 ones; engines set it.",
}
_NUMBERS = {"integer", "number"}
_SCALAR = ["string", "number", "boolean"]


def config_schema() -> Schema:
    """Return the schema of the file behind --config: every key may lack, for the options and a run say some too."""
    schema = of_model(RunConfig)
    del schema["required"]
    properties = schema["properties"]
    inner = {**{name: recipe_schema(name) for name in ("sft", "dpo")}, "merge": merge_schema()}
    for name, part in (inner | {"trackers": trackers_schema()}).items():
        properties[name] = described(part, properties[name]["description"])
    others = "|".join(name for name in SCHEDULERS if name != "local")
    properties["on"]["pattern"] = f"^(local:?|({others})(:.*)?)$"
    return schema


def recipe_schema(section: str) -> Schema:
    """Return the schema of a `sft:` or `dpo:` mapping: the keys that a recipe may set, each with what it takes."""
    named = plugins.axolotls() if section == "sft" else {}
    known = {key: entry for key, entry in known_keys(section, named).items() if key not in _fixed(section)}
    about = {**plugins.about(), **texts_of(DpoConfig), **ENGINE_ABOUT, **_ABOUT}
    properties = {key: described(entry_schema(key, entry), about.get(key, "")) for key, entry in known.items()}
    if section != "sft":
        return closed(properties)
    properties |= {key: described(one_of(values), about.get(key, "")) for key, values in NO_ENDS.items()}
    return {"type": "object", "properties": properties, "allOf": _by_plugins(properties)}


def _fixed(section: str) -> Mapping[str, str]:
    return SET_BY_THE_PLAN if section == "sft" else {}


def entry_schema(key: str, entry: Mapping[str, Any]) -> Schema:
    """Return the schema of the values that an entry of the known keys takes."""
    kinds = entry["types"]
    if not kinds:
        return {}
    branches: list[Schema] = []
    for kind in kinds:
        if kind == "string" and "enum" in entry:
            branches += _names(entry)
        elif kind in _NUMBERS and "range" in entry:
            branches += _in_range(entry["range"], whole="number" not in kinds)
        else:
            branches.append({"type": kind} | _texts(key, kind) | _filled(entry, kind))
    return joined(branches)


def joined(branches: list[Schema]) -> Schema:
    """Return the schema of a value that is of one of the branches, those that are types alone in one of them."""
    types = sorted({branch["type"] for branch in branches if branch.keys() == {"type"}})
    plain: list[Schema] = [{"type": types[0] if len(types) == 1 else types}] if types else []
    rest = [branch for branch in branches if branch.keys() != {"type"}]
    unique = [*(branch for number, branch in enumerate(rest) if branch not in rest[:number]), *plain]
    return unique[0] if len(unique) == 1 else {"anyOf": unique}


def _texts(key: str, kind: str) -> Schema:
    if kind == "array" and key in TEXTS:
        return {"items": {"type": "string"}}
    if kind == "object" and key in MAPS_OF_TEXTS:
        return {"additionalProperties": {"type": ["string", "null"]}}
    return {}


def _filled(entry: Mapping[str, Any], kind: str) -> Schema:
    return {"minItems": 1} if entry.get("filled") and kind == "array" else {}


def _names(entry: Mapping[str, Any]) -> list[Schema]:
    """Return a branch for the names, one for each pattern of further ones, one for names that are taken as a second."""
    patterns = list(entry.get("patterns", ()))
    found = [one_of(entry["enum"])]
    if any(re.search(pattern, FALLBACK) for pattern in patterns):
        patterns.append(f"^{FALLBACK}({'|'.join(map(re.escape, entry['enum']))})$")
    return found + [{"type": "string", "pattern": each} for each in patterns if not re.search(each, FALLBACK)]


def _in_range(numbers: Range, *, whole: bool) -> list[Schema]:
    kind = "integer" if whole else "number"
    if numbers.whole_from is not None:
        share = _bounds(Range(numbers.low, 1, above=numbers.above, below=True))
        whole_ones = {"type": "integer", "minimum": numbers.whole_from}
        found = [whole_ones, *([{"const": 0}] if whole else [{"type": kind, **share}])]
    else:
        found = [{"type": kind, **_bounds(numbers)}]
    return [*found, *([one_of(numbers.also)] if numbers.also else [])]


def _bounds(numbers: Range) -> Schema:
    low = {"exclusiveMinimum" if numbers.above else "minimum": numbers.low}
    high = {"exclusiveMaximum" if numbers.below else "maximum": numbers.high}
    return (low if numbers.low > float("-inf") else {}) | (high if numbers.high < float("inf") else {})


def _by_plugins(properties: Mapping[str, Any]) -> list[Schema]:
    """Return the rules of a recipe's keys by what `plugins` names.

    A key of one of axolotl's plugins needs its name; one that nobody knows needs a plugin of somebody else's.
    """
    own = known_keys("sft", ())
    spelt = {name: plugins.spelling(name) for name in plugins.axolotls()}
    makers: dict[str, list[str]] = {}
    for name, keys in plugins.axolotls().items():
        for key in keys.keys() - own.keys():
            makers.setdefault(key, []).append(spelt[name])
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, names in makers.items():
        groups.setdefault(tuple(names), []).append(key)
    rules: list[Schema] = [
        {"if": {"not": _named("|".join(names))}, "then": {"properties": dict.fromkeys(sorted(keys), False)}}
        for names, keys in sorted(groups.items())
    ]
    ours = f"^{re.escape(plugins.OURS)}"
    known = "|".join((*spelt.values(), ours))
    foreign = {"required": ["plugins"], "properties": {"plugins": {"contains": {"not": {"pattern": known}}}}}
    only = {"properties": dict.fromkeys(properties, True), "additionalProperties": False}
    wrong = {
        "items": {"if": {"pattern": f"^{re.escape(plugins.AXOLOTLS)}"}, "then": {"pattern": "|".join(spelt.values())}}
    }
    return [*rules, {"if": foreign, "else": only}, {"properties": {"plugins": wrong}}]


def _named(pattern: str) -> Schema:
    inside = {"type": "array", "contains": {"type": "string", "pattern": pattern}}
    return {"required": ["plugins"], "properties": {"plugins": inside}}


def merge_schema() -> Schema:
    """Return the schema of a `merge:` mapping: who is merged, and the keys that a method may have."""
    who = of_model(merge.MergeSettings)["properties"]
    who = {key: each for key, each in who.items() if key in merge.WHO}
    who["partner"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]} | {
        "description": who["partner"]["description"]
    }
    found: dict[str, Schema] = {}
    for key, numbers in merge.NUMBERS.items():
        one = {"type": "number", **_bounds(numbers)}
        found[key] = {"anyOf": [one, {"type": "array", "items": one}]} if key in merge.PER_MODEL else one
    found |= {key: {"type": "boolean"} for key in merge.FLAGS}
    found |= {key: one_of(values) for key, values in merge.CHOICES.items()}
    return closed(who | found | {"seed": {"type": "integer", "minimum": 0}})


def trackers_schema() -> Schema:
    """Return the schema of a `trackers:` mapping."""
    known, about = axolotl_keys(), {**plugins.about(), **_ABOUT}
    return closed({key: described(entry_schema(key, known[key]), about.get(key, "")) for key in KEYS})


def cluster_schema() -> Schema:
    """Return the schema of a site's profile, in which every value is read as it is written: 24:00:00 is a time."""
    schema = of_model(Profile)
    del schema["required"]  # --on says it too
    written: Schema = _as_written(schema)
    return written


def _as_written(part: Any) -> Any:
    """Return a schema in which a text may look like a number or a truth value, for it is one all the same."""
    if isinstance(part, list):
        return [_as_written(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: _as_written(each) for key, each in part.items()}
    if found.get("type") == "string" and not {"enum", "const", "pattern"} & found.keys():
        found["type"] = _SCALAR
    return found
