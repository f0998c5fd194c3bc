"""JSON schemas (draft 2020-12) of what users write in YAML, made of the types and entries that its readers check by."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def of_model(model: type[BaseModel]) -> Schema:
    """Return the schema of a pydantic model: its fields with their types, limits and what its class says under each."""
    return model.model_json_schema(schema_generator=_Told)


def document(name: str, schema: Mapping[str, Any]) -> Schema:
    """Return a schema as a document of its own, by the name of the file that it is for."""
    return {"$schema": DIALECT, "title": f"alphaf {name}", **schema}


def closed(properties: Mapping[str, Any], description: str = "") -> Schema:
    """Return the schema of a mapping that takes these keys and no other."""
    said = {"description": description} if description else {}
    return {"type": "object", **said, "properties": dict(properties), "additionalProperties": False}


def one_of(names: Iterable[Any]) -> Schema:
    """Return the schema of a value that is one of these."""
    return {"enum": list(names)}


def described(schema: Mapping[str, Any], text: str) -> Schema:
    """Return the schema with what it is for, where that is known."""
    return {"description": text, **schema} if text else dict(schema)


def texts_of(kind: type) -> dict[str, str]:
    """Return the texts that stand under the fields of a class in its source, by field; none where no source is here."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each.__module__.startswith("alphaf_orch."):
            found |= _texts_in(each)
    return found


def _texts_in(kind: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError):  # installed as compiled files alone
        return {}
    assert isinstance(tree, ast.ClassDef)
    pairs = zip(tree.body, tree.body[1:], strict=False)
    return {
        field.target.id: said.value.value
        for field, said in pairs
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant) and isinstance(said.value.value, str)
    }


class _Told(GenerateJsonSchema):
    """Writes no titles, and what a class says under its fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  (pydantic's)
        """Return that no field has one: it would repeat the key."""
        return False

    def model_schema(self, schema: Any) -> Schema:
        """Return the schema of a model with the texts of its fields, and the first line of its own."""
        found = super().model_schema(schema)
        found.pop("title", None)
        texts = texts_of(schema["cls"])
        for name, each in found.get("properties", {}).items():
            if name in texts:
                each["description"] = texts[name]
        return found | {"description": (schema["cls"].__doc__ or "").partition("\n")[0]}
