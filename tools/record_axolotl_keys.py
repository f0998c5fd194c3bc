"""Write alphaf_orch/schemas/axolotl.json: every key the installed axolotl knows, with its types and choices.

axolotl drops keys it does not know without a word, so we refuse them ourselves. `--check` exits 1 when the
record differs from the installed version.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

from recording import keep

# Its schema says "string or number", its own validator then refuses any string that is no number.
NUMBERS_ONLY = {"learning_rate"}


def branches(schema: dict[str, Any], defs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of a JSON schema with its references resolved."""
    if "$ref" in schema:
        return branches(defs[schema["$ref"].rsplit("/", 1)[1]], defs)
    alternatives = schema.get("anyOf", []) + schema.get("oneOf", [])
    return [b for a in alternatives for b in branches(a, defs)] if alternatives else [schema]


def entry(schema: dict[str, Any]) -> dict[str, Any]:
    """Return {"types": [...], "enum": [...]}; an empty types list means anything goes."""
    types: list[str] = []
    choices: list[Any] | None = []
    for branch in branches(schema, schema.get("$defs", {})):
        kind = branch.get("type")
        if kind is None and "const" not in branch and "enum" not in branch:
            return {"types": []}
        if kind:
            types.append(kind)
        if kind == "string" or kind is None:
            if "enum" in branch:
                choices = None if choices is None else choices + branch["enum"]
            elif "const" in branch:
                choices = None if choices is None else [*choices, branch["const"]]
            else:
                choices = None
    found: dict[str, Any] = {"types": sorted(set(types))}
    if choices:
        found["enum"] = sorted(set(choices))
    return found


def record() -> dict[str, Any]:
    """Return the record of the installed axolotl's configuration keys."""
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema
    from pydantic_core import PydanticSerializationError

    keys: dict[str, Any] = {}
    for name, field in AxolotlInputConfig.model_fields.items():
        try:
            found = entry(TypeAdapter(field.annotation).json_schema())
        except (PydanticInvalidForJsonSchema, PydanticSerializationError):
            # torchao dtypes have no JSON form: the two quantisation blocks stay unchecked.
            found = {"types": []}
        if name in NUMBERS_ONLY:
            found = {"types": ["number"]}
        # axolotl's schema accepts a field by its name and by its alias.
        keys[name] = found
        if field.alias:
            keys[field.alias] = found
    return {"axolotl": version("axolotl"), "keys": dict(sorted(keys.items()))}


if __name__ == "__main__":
    sys.exit(keep("alphaf_orch/schemas/axolotl.json", record, __doc__))
