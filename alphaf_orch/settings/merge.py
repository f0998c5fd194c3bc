"""What the `merge:` settings say: partners, method, and the recipe's keys, each checked before anything is planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.names import expanded
from alphaf_orch.core.values import Mistake, finite, nearest, numbers, parse_value, validated
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

    def told(mistake: Mistake) -> ConfigError:
        key = mistake.keys[0]
        what = mistake.message.lower() + (nearest(str(own.get(key)), METHODS) if key == "method" else "")
        return ConfigError(
            f"merge.{key}: {what}",
            where=f"{where}, key merge.{key}",
            fix=f"mend merge.{key}",
            code="config.wrong_value",
        )

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

    for key in (key for key in PER_MODEL if key in recipe):
        value = recipe[key]
        numbers = value if isinstance(value, list) else [value]
        if not all(finite(n) for n in numbers):
            raise bad(
                key,
                f"is {value!r}, which is no number",
                "give one number, or a list with one for each model",
                code="config.wrong_type",
            )
        if isinstance(value, list) and len(value) != count:
            raise bad(
                key,
                f"has {len(value)} values for {count} models",
                "give one for each, the run's own first",
                code="config.wrong_value",
            )
        if key == "density" and not all(map(NUMBERS[key].takes, numbers)):
            raise bad(key, f"is {value!r}", "give a share above 0 and up to 1", code="config.out_of_range")
        if key == "gamma" and not all(map(NUMBERS[key].takes, numbers)):
            raise bad(key, f"is {value!r}", "give a share from 0 to below 1", code="config.out_of_range")
    for key in (key for key in FLAGS if key in recipe):
        if not isinstance(recipe[key], bool):
            raise bad(key, f"is {recipe[key]!r}", "give true or false", code="config.wrong_type")
    for key in (key for key in ("t", "select_topk", "lambda") if key in recipe):
        if not NUMBERS[key].takes(recipe[key]):
            raise bad(key, f"is {recipe[key]!r}", f"give {NUMBERS[key].told(whole=False)}", code="config.out_of_range")
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
    for key, choices in CHOICES.items():
        if recipe[key] not in choices:
            raise bad(
                key, f"is {recipe[key]!r}", f"use one of: {', '.join(map(str, choices))}", code="config.unknown_value"
            )
    if recipe["tokenizer"] == "base" and recipe["method"] in WITHOUT_BASE:
        raise bad(
            "tokenizer", f"is base, and {recipe['method']} has no base", "use run or union", code="config.not_together"
        )
    if type(recipe["seed"]) is not int or recipe["seed"] < 0:
        raise bad("seed", f"is {recipe['seed']!r}", "give a whole number", code="config.wrong_type")


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
