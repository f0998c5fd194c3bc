"""Child program: asks the installed axolotl whether it takes recipes, as on the machine that they are meant for.

`python -m alphaf_orch.programs.training.validate_recipe QUESTION.json` prints one line of JSON behind all that axolotl
says. The question: {"recipes": {NAME: text of the YAML}, "gpus": 8, "nodes": 1, "card": "sm_90"}, where `card` may be
left out: the GPU here if torch sees one, else an H100. The answer: {"axolotl": its version, "torch": torch's,
"recipes": {NAME: {"refused": [{"key", "value", "reason"}, ...], "dropped": [KEY, ...]}}}; a recipe is taken where both
lists are empty.

In an environment with axolotl a program may call `refused(values, target(gpus=8))` of its own. No network is used and
no model is loaded: what axolotl asks of the base model itself comes later, when it reads the model's config.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from alphaf_orch.programs.common import CONFIG, TOOL, Failure, config_path, program, read_config

ARTICLES_CARD = "sm_90"  # H100 [article]
# How a validator that stumbles over a value shows it: axolotl's preprocess would end with the same.
_REFUSALS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, ImportError, NotImplementedError)
# What a plugin imports only once a model is loaded, minutes later, by its class: the module, what is installed for it,
# and a word in one of its files that tells it from a package of the same name.
_NEEDS = {
    "LigerPlugin": ("liger_kernel", "liger-kernel", None),
    # PyPI's cut-cross-entropy is another one (axolotl/integrations/cut_cross_entropy/__init__.py).
    "CutCrossEntropyPlugin": (
        "cut_cross_entropy",
        "axolotl's fork of cut-cross-entropy",
        ("transformers/patch.py", "AXOLOTL_CCE_FORK"),
    ),
    "DenseMixerPlugin": ("densemixer", "densemixer", None),
    "SwanLabPlugin": ("swanlab", "swanlab", None),
    "HatcheryPlugin": ("tinker", "tinker", None),
}


class Target(NamedTuple):
    """The machine that a recipe is meant for: GPUs on all nodes together, their kind (None: CPU), torch's version."""

    ranks: int
    card: str | None
    bf16: bool
    torch: str

    def capabilities(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what axolotl's own gpu_capabilities() would return there (axolotl/cli/config.py)."""
        kind = int(self.card.removeprefix("sm_")) if self.card else 0
        gpu = {
            "bf16": self.bf16,
            "fp8": kind >= 90,
            "tf32": kind >= 80,
            "n_gpu": self.ranks,
            "compute_capability": self.card,
        }
        return gpu, {"torch_version": self.torch}


def target(*, gpus: int, nodes: int = 1, card: str | None = None, torch: str | None = None) -> Target:
    """Return the machine with so many GPUs a node; without `card` that of the GPU here, else the article's."""
    torch = torch or version("torch").split("+", maxsplit=1)[0]
    card = card or (_card_here() or ARTICLES_CARD if gpus else None)
    # bfloat16 needs Ampere or newer: compute capability 8.0 (torch.cuda.is_bf16_supported).
    return Target(max(1, gpus) * nodes, card, bool(card) and int(str(card).removeprefix("sm_")) >= 80, torch)


def refused(values: Mapping[str, Any], machine: Target) -> dict[str, list[Any]]:
    """Return what axolotl refuses of a recipe, with its own reasons, and the keys that it drops without a word."""
    from axolotl.utils.config import prepare_plugins, validate_config
    from axolotl.utils.dict import DictDefault
    from pydantic import ValidationError

    missing = _register(values)
    if missing:
        return {"refused": missing, "dropped": []}
    gpu, environment = machine.capabilities()
    config = DictDefault(copy.deepcopy(dict(values)))  # its validators change what they are given
    try:
        prepare_plugins(config)
        checked = validate_config(config, capabilities=gpu, env_capabilities=environment)
    except ValidationError as error:
        return {"refused": _reasons(error.errors(include_url=False), values), "dropped": []}
    except _REFUSALS as error:
        return {"refused": [_reason((), None, f"{error}" or type(error).__name__, values)], "dropped": []}
    return {"refused": [], "dropped": _dropped(values, checked, _aliases(config))}


def _dropped(values: Mapping[str, Any], checked: Mapping[str, Any], aliases: set[str]) -> list[str]:
    """Return the keys, and those in mappings, that are not in what axolotl made of the recipe."""
    found = [key for key, value in values.items() if value is not None and key not in {*checked, *aliases}]
    for key, value in values.items():
        kept = checked.get(key)
        if isinstance(value, Mapping) and isinstance(kept, Mapping):
            # FSDP's keys are taken with and without their old prefix.
            names = {*kept, *(f"fsdp_{name}" for name in kept)}
            found += [f"{key}.{name}" for name, inner in value.items() if inner is not None and name not in names]
    return found


def _card_here() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"


def _register(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return why plugins cannot be loaded: axolotl prints that and goes on without them, dropping their keys.

    Those of the recipe alone are known then, whatever was asked before.
    """
    from axolotl.integrations.base import PluginManager, load_plugin

    PluginManager.get_instance().plugins.clear()
    problems = []
    for name in values.get("plugins") or ():
        try:
            load_plugin(name)
            lacking = _lacking(name, values)
            reason = f"it needs {lacking}, which is not installed here" if lacking else ""
        except (ImportError, AttributeError, ValueError) as error:
            reason = f"it cannot be loaded: {error}"
        if reason:
            problems.append({"key": "plugins", "value": name, "reason": reason})
    return problems


def _lacking(name: str, values: Mapping[str, Any]) -> str | None:
    """Return what one of axolotl's plugins needs and is not installed, None where all is there or it is off."""
    module, package, told_by = _NEEDS.get(name.rpartition(".")[2], (None, None, None))
    if module is None or (module == "cut_cross_entropy" and values.get(module) is False):
        return None
    found = find_spec(module)
    if found is None:
        return package
    if told_by and found.origin:
        file = Path(found.origin).parent / told_by[0]
        return None if file.is_file() and told_by[1] in file.read_text(encoding="utf-8") else package
    return None


def _aliases(config: Mapping[str, Any]) -> set[str]:
    """Return the other names under which axolotl takes keys, by the schema that the plugins make."""
    from axolotl.integrations.config import merge_input_args

    fields = merge_input_args()[1].model_fields if config.get("plugins") else {}
    if not fields:
        from axolotl.utils.schemas.config import AxolotlInputConfig

        fields = AxolotlInputConfig.model_fields
    return {field.alias for field in fields.values() if field.alias}


def _reasons(errors: list[Any], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one reason for each key; a union reports every choice that it tried, of which the first is kept."""
    found: dict[str, dict[str, Any]] = {}
    for item in errors:
        reason = _reason(item["loc"], item.get("input"), item["msg"], values)
        found.setdefault(reason["key"], reason)
    return list(found.values())


def _reason(place: tuple[Any, ...], value: Any, text: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a refusal with the key that it is about: where pydantic says it, else the first that the text names."""
    text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if place:
        # Behind a key pydantic names the branches of its union: int, function-before, a class.
        nested = [str(part) for part in place[1:] if isinstance(values.get(str(place[0])), Mapping)][:1]
        return {"key": ".".join([str(place[0]), *nested]), "value": _plain(value), "reason": text}
    words = re.findall(r"[A-Za-z_]\w*", text)
    key = next((word for word in words if word in values), "")
    return {"key": key, "value": _plain(values.get(key)), "reason": text}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def main(argv: list[str]) -> None:
    """Answer the question in the file that the command line names."""
    question = config_path(argv)
    asked = read_config(question, ["recipes", "gpus"])
    try:
        machine = target(gpus=asked["gpus"], nodes=asked.get("nodes", 1), card=asked.get("card"))
        installed = version("axolotl")
    except ImportError as error:
        fix = "install it there, or set `tools:` in the config"
        raise Failure(
            TOOL, f"axolotl cannot be asked: {error}", where=question, fix=fix, code="tool.cannot_run"
        ) from error
    import yaml

    answers = {}
    for name, text in asked["recipes"].items():
        values = yaml.safe_load(text)
        if not isinstance(values, dict):
            raise Failure(
                CONFIG,
                f"recipe {name} is no mapping",
                where=question,
                fix="give the text of a recipe",
                code="config.not_a_mapping",
            )
        answers[name] = refused(values, machine)
    print("\n" + json.dumps({"axolotl": installed, "torch": machine.torch, "recipes": answers}), flush=True)


if __name__ == "__main__":
    program(main)
