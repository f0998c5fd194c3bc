"""From `alphaf ablate KEY=V1,V2` to arms: every value of every key, each under the same seeds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.experiment import Arm, Asked, Experiment, slug
from alphaf_orch.planning.stages import Section
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.keys import parse_set
from alphaf_orch.settings.options import new_settings

NEFTUNE_ALPHA = 45.0  # article; Yi report section 3.2 has it for the 34B chat model, 5 for 6B
NEFTUNE_SEEDS = 3  # ours: two runs of one recipe differ too, and fewer say little of by how much
OTHER_SEEDS = 1  # ours: a grid is dear; the report says what one seed leaves open
FIRST_SEED = 42  # the recipes' own
_OFF = ("off", "none", "null")
_SEEDS = (("sft", "seed"), ("dpo", "seed"))
# What people call a choice that is more than one key; docs/ablation.md lists them.
_NAMED: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "lora_target": {
        "qv": {"lora_target_linear": False, "lora_target_modules": ["q_proj", "v_proj"]},
        "all": {"lora_target_linear": True, "lora_target_modules": None},
    }
}
# The experiments of the article by name: a key with its values.
_PRESETS = {"adapter": "adapter=qlora,lora,full"}


@dataclass(frozen=True, kw_only=True)
class AblationAsked(Asked):
    """What `alphaf ablate` was asked; None means that it was not said."""

    what: tuple[str, ...] = ()
    alpha: float | None = None
    seeds: int | None = None
    until: Section | None = None


@dataclass(frozen=True)
class Level:
    """One value of a factor: what it is called, and the recipe keys that it sets."""

    label: str
    sets: Mapping[Section, Mapping[str, Any]]


@dataclass(frozen=True)
class Factor:
    """What is varied: its key as it was typed, and its values, the first of which the others are compared with."""

    key: str
    levels: tuple[Level, ...]


def plan_ablation(asked: AblationAsked) -> Experiment:
    """Return the experiment that a command line asks for; raises ConfigError for what cannot be varied or compared."""
    factors = read_factors(asked.what, alpha=asked.alpha)
    base = new_settings(asked)
    seeds = asked.seeds or (NEFTUNE_SEEDS if "neftune" in asked.what else OTHER_SEEDS)
    varied = "_".join("neftune" if word == "neftune" else word.partition("=")[0] for word in asked.what)
    name = asked.name or slug(f"ablate-{varied}-{Path(base.model).name}")
    told = {
        "what": " ".join(asked.what), "alpha": asked.alpha, "model": base.model, "seeds": seeds, "until": asked.until,
        "data": list(base.data), "dpo_data": list(base.dpo_data), "set": list(asked.sets),
        "suites": list(asked.suites), "tasks": list(asked.tasks), "limit": asked.limit,
    }  # fmt: skip
    request = EvalOptions(suites=asked.suites, tasks=asked.tasks, limit=asked.limit)
    return make_ablation(name, factors, base, seeds=seeds, until=asked.until, request=request, asked=told)


def read_factors(words: Sequence[str], *, alpha: float | None) -> tuple[Factor, ...]:
    """Return what the words of the command line vary; raise ConfigError for a key or value that no recipe takes.

    `neftune` and `adapter` are the article's own questions; any other word is KEY=V1,V2 with a key of axolotl's, or of
    the DPO recipe behind `dpo.`.
    """
    if not words:
        raise ConfigError(
            "nothing is named to be varied",
            where="alphaf ablate",
            fix="say neftune, adapter, or KEY=V1,V2,…",
            code="config.nothing_named",
        )
    if alpha is not None and "neftune" not in words:
        raise ConfigError(
            "--alpha is NEFTune's",
            where="--alpha",
            fix="say `alphaf ablate neftune --alpha …`",
            code="config.not_together",
        )
    found: dict[str, Factor] = {}
    for word in words:
        text = f"neftune_noise_alpha=off,{alpha or NEFTUNE_ALPHA:g}" if word == "neftune" else _PRESETS.get(word, word)
        factor = _factor(text)
        if factor.key in found:
            raise ConfigError(
                f"{factor.key} is varied twice", where=word, fix="name all its values once", code="config.given_twice"
            )
        found[factor.key] = factor
    return tuple(found.values())


def _factor(text: str) -> Factor:
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(
            f"{text!r} names no values",
            where=f"alphaf ablate {text}",
            fix=f"write for example {key or 'KEY'}=V1,V2",
            code="config.no_value",
        )
    names = split_values(values)
    if len(names) < 2:
        raise ConfigError(
            f"{key} has {len(names)} value(s), and a comparison needs two",
            where=f"alphaf ablate {text}",
            fix=f"write for example {key}=V1,V2",
            code="config.too_few_values",
        )
    if len(set(names)) < len(names):
        raise ConfigError(
            f"a value of {key} is given twice",
            where=f"alphaf ablate {text}",
            fix="give each value once",
            code="config.given_twice",
        )
    return Factor(key, tuple(_level(key, name) for name in names))


def _level(key: str, value: str) -> Level:
    section: Section = "dpo" if key.startswith("dpo.") else "sft"
    bare = key.partition(".")[2] if key.startswith(("sft.", "dpo.")) else key
    if (section, bare) in _SEEDS:
        raise ConfigError(
            "the seed is varied in every arm", where=f"{key}={value}", fix="use --seeds N", code="config.set_by_alphaf"
        )
    named = _NAMED.get(bare) if section == "sft" else None
    if named is not None:
        if value not in named:
            raise ConfigError(
                f"{key} is {value!r}",
                where=f"alphaf ablate {key}=…",
                fix=f"use some of: {', '.join(named)}",
                code="config.unknown_value",
            )
        return Level(f"{key}={value}", {"sft": named[value]})
    text = "null" if value in _OFF else value
    sets = parse_set([f"{key}={text}"], default="sft")
    return Level(f"{key}={value}", {section: sets[section]})


def split_values(text: str) -> list[str]:
    """Return the values between commas; a comma inside brackets, braces or quotes is part of a value."""
    parts, depth, quote, start = [], 0, "", 0
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in ")}]":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def make_ablation(
    name: str,
    factors: Sequence[Factor],
    base: RunConfig,
    *,
    seeds: int,
    until: Section | None,
    request: EvalOptions,
    asked: Mapping[str, Any],
) -> Experiment:
    """Return the experiment: every combination of the factors' values under every seed, seed by seed.

    Arms of one seed lie beside each other, so that a pair can be compared early. DPO is run where a key of its recipe
    is varied or `until` asks for it; what is evaluated is the model of the last half that is run.
    """
    varied = {section for factor in factors for level in factor.levels for section in level.sets}
    last: Section = until or ("dpo" if "dpo" in varied else "sft")
    if last == "sft" and "dpo" in varied:
        raise ConfigError(
            "a key of DPO is varied and no DPO is run",
            where="--until sft",
            fix="leave --until out",
            code="config.not_together",
        )
    sections: tuple[Section, ...] = ("sft",) if last == "sft" else ("sft", "dpo")
    first = int(base.sft.get("seed", FIRST_SEED))
    arms = []
    for seed in range(first, first + seeds):
        for levels in itertools.product(*(factor.levels for factor in factors)):
            arms.append(_arm(levels, base, seed))
    return Experiment(name, "ablation", tuple(arms), sections, (replace(request, stages=(last,)),), asked)


def _arm(levels: Sequence[Level], base: RunConfig, seed: int) -> Arm:
    sets: dict[str, dict[str, Any]] = {"sft": dict(base.sft), "dpo": dict(base.dpo)}
    values: dict[str, Any] = {}
    for level in levels:
        for part, keys in level.sets.items():
            sets[part] |= keys
            values |= {f"{part}.{key}": value for key, value in keys.items()}
    if values.get("sft.adapter") == "full":
        # They mean nothing there, and a recipe of full fine-tuning refuses them.
        sets["sft"] = {key: value for key, value in sets["sft"].items() if not key.startswith("lora_")}
    for section, key in _SEEDS:
        sets[section][key] = seed
    variant = " ".join(level.label for level in levels)
    # What is compared is the model of a training stage: a merge behind it would only cost time.
    config = base.model_copy(update={**sets, "merge": {}})
    return Arm(f"{slug('_'.join(level.label for level in levels))}.s{seed}", variant, values, seed, config)
