"""Write alphaf_orch/schemas/axolotl.json: every key the installed axolotl knows, with its types, choices and limits.

Those of its own plugins too, and the names that transformers' trainer takes. axolotl drops keys it does not know
without a word, so we refuse them ourselves. `--check` exits 1 when the record differs from the installed version.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from recording import keep

# Its schema says "string or number", its own validator then refuses any string that is no number.
NUMBERS_ONLY = {"learning_rate"}
LIMITS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}


def branches(schema: dict[str, Any], defs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of a JSON schema with its references resolved."""
    if "$ref" in schema:
        return branches(defs[schema["$ref"].rsplit("/", 1)[1]], defs)
    alternatives = schema.get("anyOf", []) + schema.get("oneOf", [])
    return [b for a in alternatives for b in branches(a, defs)] if alternatives else [schema]


def entry(schema: dict[str, Any]) -> dict[str, Any]:
    """Return {"types": [...]} with the "enum", "patterns" and "limits" there are; an empty list means anything goes."""
    types: list[str] = []
    choices: list[Any] = []
    patterns: list[str] = []
    limits: dict[str, float] = {}
    free = False  # whether a branch takes any text
    for branch in branches(schema, schema.get("$defs", {})):
        kind = branch.get("type")
        if kind is None and "const" not in branch and "enum" not in branch:
            return {"types": []}
        if kind:
            types.append(kind)
        limits |= {short: branch[name] for name, short in LIMITS.items() if name in branch}
        if kind in ("string", None):
            choices += branch.get("enum", [branch["const"]] if "const" in branch else [])
            patterns += [branch["pattern"]] if "pattern" in branch else []
            free |= not {"enum", "const", "pattern"} & branch.keys()
    found: dict[str, Any] = {"types": sorted(set(types))}
    if choices and not free:
        found["enum"] = sorted(set(choices))
    if patterns and not free:
        found["patterns"] = patterns
    return found | ({"limits": limits} if limits else {})


def keys_of(model: Any) -> dict[str, Any]:
    """Return the keys of a pydantic model."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema
    from pydantic_core import PydanticSerializationError

    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        # The limits of a field stand beside its type.
        kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        try:
            found = entry(TypeAdapter(kind).json_schema())
        except (PydanticInvalidForJsonSchema, PydanticSerializationError):
            # torchao dtypes have no JSON form: the two quantisation blocks stay unchecked.
            found = {"types": []}
        if name in NUMBERS_ONLY:
            found = {"types": ["number"]}
        # axolotl's schema accepts a field by its name and by its alias.
        keys[name] = found
        if field.alias:
            keys[field.alias] = found
    return dict(sorted(keys.items()))


def about(model: Any) -> dict[str, str]:
    """Return what the fields of a pydantic model are for, in their maker's words, for those that say it."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        text = " ".join(str(field.description or extra.get("description") or "").split())
        if text:
            found |= {key: text for key in (name, field.alias) if key}
    return dict(sorted(found.items()))


def plugins() -> dict[str, Any]:
    """Return the keys of each plugin that axolotl brings, under the name that `plugins:` takes.

    Read from their files: some import, with their package, what is not installed.
    """
    from axolotl import integrations

    found: dict[str, Any] = {}
    for file in sorted(Path(integrations.__path__[0]).glob("*/args.py")):
        arguments = loaded(file)
        for source in sorted(file.parent.glob("*.py")):
            for plugin, model in classes(ast.parse(source.read_text(encoding="utf-8"))):
                found[f"{integrations.__name__}.{file.parent.name}.{plugin}"] = keys_of(getattr(arguments, model))
    return found


def classes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each plugin's class and the name of the model that its get_input_args names."""
    for node in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        if not any(isinstance(base, ast.Name) and base.id == "BasePlugin" for base in node.bases):
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "get_input_args":
                named = next(part for part in ast.walk(method) if isinstance(part, ast.Return)).value
                if isinstance(named, ast.Constant) and isinstance(named.value, str):
                    yield node.name, named.value.rpartition(".")[2]


def loaded(file: Path) -> ModuleType:
    """Return the module in a file, without the package that it stands in."""
    spec = spec_from_file_location(f"arguments_of_{file.parent.name}", file)
    assert spec and spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for what its annotations name
    spec.loader.exec_module(module)
    return module


def record() -> dict[str, Any]:
    """Return the record of the installed axolotl's configuration keys."""
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.enums import CANONICAL_ATTN_IMPLS, CustomSupportedOptimizers
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    keys = keys_of(AxolotlInputConfig)
    schedulers = sorted(scheduler.value for scheduler in SchedulerType)
    optimizers = sorted(optimizer.value for optimizer in OptimizerNames)
    # Names that its schema takes as any text and that a validator, or the trainer, refuses later.
    keys["optimizer"]["enum"] = sorted({*optimizers, *(optimizer.value for optimizer in CustomSupportedOptimizers)})
    keys["attn_implementation"] |= {"enum": sorted(CANONICAL_ATTN_IMPLS), "patterns": ["/"]}
    return {
        "axolotl": version("axolotl"),
        "about": about(AxolotlInputConfig),
        "keys": keys,
        "plugins": plugins(),
        "transformers": {"lr_scheduler": schedulers, "optimizer": optimizers},
    }


if __name__ == "__main__":
    sys.exit(keep("alphaf_orch/schemas/axolotl.json", record, __doc__))
