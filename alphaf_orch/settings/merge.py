"""What the `merge:` settings say: partners, method, and the recipe's keys, each checked before anything is planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.names import expanded
from alphaf_orch.core.values import Mistake, finite, nearest, numbers, parse_value, validated
from alphaf_orch.core.yaml_files import place_of
from alphaf_orch.settings.ranges import Range

Method = Literal[
    "linear", "slerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", "della", "breadcrumbs", "model_stock",
    "sce",
]  # fmt: skip
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT_METHOD: Method = "dare_ties"  # the precedent for EEVE, see templates/merge_models/dare_ties.yaml.j2
WITHOUT_BASE = ("linear", "slerp")  # their formulas know the merged models only
# One value for all models, or a list with one for each, the run's own model first.
PER_MODEL = ("weight", "density", "gamma", "epsilon")
SHARED = ("normalize", "rescale", "lambda", "int8_mask", "t", "select_topk", "filter_wise")
DTYPES = (None, "bfloat16", "float16", "float32")
WHO = ("partner", "method", "stage", "base")
# Kept when another method is asked for: they mean the same to every one.
_COMMON = (*WHO, "dtype", "out_dtype", "tokenizer", "seed")
_POLICIES = ("run", "union", "base")
FLAGS = ("normalize", "rescale", "int8_mask", "filter_wise")
_ANY, _SHARE = Range(), Range(0, 1)
NUMBERS = {
    "weight": _ANY, "density": Range(0, 1, above=True), "gamma": Range(0, 1, below=True), "epsilon": _ANY, "t": _SHARE,
    "select_topk": _SHARE, "lambda": _ANY,
}  # fmt: skip
CHOICES: dict[str, tuple[str | None, ...]] = {"dtype": DTYPES, "out_dtype": DTYPES, "tokenizer": _POLICIES}
_SWEPT = ("weight", "density", "t", "gamma", "epsilon", "lambda", "select_topk")


def _names(value: Any) -> Any:
    """Return one name, or several with commas between them, as a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class MergeSettings(BaseModel):
    """Who is merged, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partner: Annotated[tuple[str, ...], BeforeValidator(_names)]
    """Who is merged with the run's model: presets, folders or hub ids."""
    method: Method = DEFAULT_METHOD
    """mergekit's method."""
    stage: Literal["sft", "dpo"] | None = None
    """Which model of the run is merged; the newest unless said."""
    base: str | None = None
    """What both were made from; the run's base model unless said."""
    values: dict[str, Any] = {}
    """The recipe's keys that the user set."""
    default: dict[str, Any] = {}
    """The recipe's keys that the model's preset sets."""


def read_settings(values: Mapping[str, Any], default: Mapping[str, Any], where: str) -> MergeSettings:
    """Return the settings; the model's `default` holds where the user names neither partner nor method.

    Raises ConfigError for a key or value that cannot be meant, and where no partner is named.
    """
    refuse_credentials(values, where)
    if "partner" in values or "method" in values:
        default = {}
    own = {key: value for key, value in {**default, **values}.items() if key in WHO}
    recipe = numbers({key: value for key, value in values.items() if key not in WHO})
    preset = {key: value for key, value in default.items() if key not in WHO}
    if not own.get("partner"):
        raise ConfigError(
            "no merge partner is named",
            where=f"{where}, key merge.partner",
            fix="say --partner PRESET, a model folder or a hub id; several with commas between them",
            code="config.nothing_named",
        )

    told = partial(_told, own, lambda key: f"{where}, key merge.{key}")
    found = validated(MergeSettings, {**own, "values": recipe, "default": preset}, told)
    if len(set(found.partner)) != len(found.partner):
        raise ConfigError(
            "a merge partner is named twice",
            where=f"{where}, key merge.partner",
            fix="name it once",
            code="config.given_twice",
        )
    if found.method == "slerp" and len(found.partner) != 1:
        raise ConfigError(
            f"slerp merges exactly two models, the run's and one partner; {len(found.partner)} partners are named",
            where=f"{where}, key merge.partner",
            fix="name one partner, or use another method, such as linear",
            code="config.too_many_values",
        )
    if found.base and found.method in WITHOUT_BASE:
        raise ConfigError(
            f"{found.method} has no base",
            where=f"{where}, key merge.base",
            fix="leave it out, or use dare_ties",
            code="config.key_not_used",
        )
    return found


def settled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `merge:` mapping with the folders among partner and base made absolute, wherever a run goes on."""

    def absolute(name: Any) -> Any:
        local = expanded(name) if isinstance(name, str) else None
        return str(local.absolute()) if local and local.is_dir() else name

    found = dict(values)
    if "partner" in found:
        names = _names(found["partner"])
        found["partner"] = [absolute(name) for name in names] if isinstance(names, list | tuple) else names
    if "base" in found:
        found["base"] = absolute(found["base"])
    return found


def laid_over(values: Mapping[str, Any], given: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """Return a run's `merge:` mapping with what a command line says over it, `given` by option and `sets` as KEY=VALUE.

    Raises ConfigError for a set that is not one.
    """
    found = dict(values)
    if given.get("method") not in (None, found.get("method")):
        found = {key: value for key, value in found.items() if key in _COMMON}
    found |= given
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"{item!r} is not key=value",
                where=f"--set {item}",
                fix="write --set lambda=0.8",
                code="config.not_key_value",
            )
        found[key.strip().removeprefix("merge.")] = parse_value(text)
    return settled(found)


def check_recipe(recipe: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for values that mergekit would refuse in the middle of the merge, or that mean nothing."""
    count = len(recipe["partners"]) + 1

    def bad(key: str, problem: str, fix: str, *, code: str) -> ConfigError:
        return ConfigError(f"merge.{key} {problem}", where=f"{where}, key merge.{key}", fix=fix, code=code)

    for key in recipe:
        wrong = _wrong(key, recipe[key])
        if wrong:
            raise bad(key, wrong[0], wrong[1], code=wrong[2])
        if key in PER_MODEL and isinstance(recipe[key], list) and len(recipe[key]) != count:
            raise bad(
                key,
                f"has {len(recipe[key])} values for {count} models",
                "give one for each, the run's own first",
                code="config.wrong_value",
            )
    if "epsilon" in recipe:
        pairs = zip(per_model(recipe, "density"), per_model(recipe, "epsilon"), strict=True)
        if any(d < 1 and (d + e >= 1 or d - e <= 0) for d, e in pairs):
            raise bad(
                "epsilon",
                f"is {recipe['epsilon']!r}",
                "keep density ± epsilon inside 0 and 1",
                code="config.out_of_range",
            )
    if "weight" in recipe and recipe.get("normalize") and abs(sum(per_model(recipe, "weight"))) < 1e-8:
        raise bad(
            "weight", "adds up to 0, by which normalize would divide", "give other weights", code="config.out_of_range"
        )
    if recipe["tokenizer"] == "base" and recipe["method"] in WITHOUT_BASE:
        raise bad(
            "tokenizer", f"is base, and {recipe['method']} has no base", "use run or union", code="config.not_together"
        )


def _wrong(key: str, value: Any) -> tuple[str, str, str] | None:
    """Return what is wrong with a value whatever the others are, what to do and the code; None where nothing is."""
    each = value if isinstance(value, list) else [value]
    if key in PER_MODEL and not all(finite(n) for n in each):
        fix = "give one number, or a list with one for each model"
        return f"is {value!r}, which is no number", fix, "config.wrong_type"
    if key == "density" and not all(map(NUMBERS[key].takes, each)):
        return f"is {value!r}", "give a share above 0 and up to 1", "config.out_of_range"
    if key == "gamma" and not all(map(NUMBERS[key].takes, each)):
        return f"is {value!r}", "give a share from 0 to below 1", "config.out_of_range"
    if key in FLAGS and not isinstance(value, bool):
        return f"is {value!r}", "give true or false", "config.wrong_type"
    if key in ("t", "select_topk", "lambda") and not NUMBERS[key].takes(value):
        return f"is {value!r}", f"give {NUMBERS[key].told(whole=False)}", "config.out_of_range"
    if key in CHOICES and value not in CHOICES[key]:
        return f"is {value!r}", f"use one of: {', '.join(map(str, CHOICES[key]))}", "config.unknown_value"
    if key == "seed" and (type(value) is not int or value < 0):
        return f"is {value!r}", "give a whole number", "config.wrong_type"
    return None


def check_value(key: str, value: Any, where: str | Path) -> None:
    """Raise ConfigError for a value of `merge:` that cannot be meant, whatever the others are.

    `where` is the file that has it, or says in words where it is.
    """
    place = place_of(Path(where), ("merge", key)) if Path(where).is_file() else f"{where}, key merge.{key}"
    if key in WHO:
        partner = {} if key == "partner" else {"partner": ()}
        validated(MergeSettings, {**partner, key: value}, partial(_told, {key: value}, lambda _: place))
    elif wrong := _wrong(key, numbers({key: value})[key]):
        problem, fix, code = wrong
        raise ConfigError(f"merge.{key} {problem}", where=place, fix=fix, code=code)


def _told(own: Mapping[str, Any], place: Callable[[str], str], mistake: Mistake) -> ConfigError:
    key = mistake.keys[0]
    what = mistake.message.lower() + (nearest(str(own.get(key)), METHODS) if key == "method" else "")
    return ConfigError(f"merge.{key}: {what}", where=place(key), fix=f"mend merge.{key}", code="config.wrong_value")


def per_model(recipe: Mapping[str, Any], key: str) -> list[float]:
    """Return one value for each model, the run's own first.

    A single weight w is the partners' together, each getting w / partners, and the run's own model gets 1 - w; any
    other single value holds for every model.
    """
    value, partners = recipe[key], len(recipe["partners"])
    if isinstance(value, list):
        return [float(one) for one in value]
    if key == "weight":
        return [1.0 - float(value), *([float(value) / partners] * partners)]
    return [float(value)] * (partners + 1)


def mergekit_config(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what mergekit reads for a recipe, in its own format; its base_model's shape is that of the result."""

    def place(path: str) -> dict[str, Any]:
        # mergekit would cut a plain path at '+' and '@'.
        return {"model": {"path": path}}

    spread = {key: per_model(recipe, key) for key in PER_MODEL if key in recipe}
    models = [
        {
            "model": place(path),
            **({"parameters": {key: values[n] for key, values in spread.items()}} if spread else {}),
        }
        for n, path in enumerate([recipe["model"], *recipe["partners"]])
    ]
    shared = {key: recipe[key] for key in SHARED if key in recipe}
    return {
        "merge_method": recipe["method"],
        "base_model": place(recipe.get("base") or recipe["model"]),
        "models": models,
        **({"parameters": shared} if shared else {}),
        **{key: recipe[key] for key in ("dtype", "out_dtype") if recipe[key]},
    }


def parse_sweep(items: Sequence[str]) -> dict[str, list[float]]:
    """Return {"weight": [0.3, 0.5]} from `weight=0.3,0.5` options; several keys make a grid."""
    found: dict[str, list[float]] = {}
    for item in items:
        key, _, text = item.partition("=")
        key = key.strip()
        if key not in _SWEPT:
            raise ConfigError(
                f"{key or item!r} cannot be swept{nearest(key, _SWEPT)}",
                where=f"--sweep {item}",
                fix=f"sweep one of: {', '.join(_SWEPT)}",
                code="config.unknown_name",
            )
        try:
            values = [float(part) for part in text.split(",") if part.strip()]
        except ValueError:
            values = []
        if not values or key in found:
            raise ConfigError(
                f"{item!r} is not a list of numbers" if not values else f"{key} is swept twice",
                where=f"--sweep {item}",
                fix="write for example --sweep weight=0.3,0.5,0.7",
                code="config.given_twice" if values else "config.wrong_type",
            )
        found[key] = list(dict.fromkeys(values))
    return found
