"""Writes the JSON schema of everything that is printed with --json into docs/schemas/output; `make golden` calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from alphaf_orch.cli.answer import schema_of
from alphaf_orch.cli.outputs.machine import Failure
from alphaf_orch.cli.outputs.names import SHAPES

FOLDER = Path(__file__).parents[1] / "docs" / "schemas" / "output"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(name: str) -> dict[str, Any]:
    """Return the schema of an answer: its shape, its name, and the error that may come behind it."""
    made = TypeAdapter(SHAPES[name]).json_schema(mode="serialization", ref_template="#/$defs/{model}")
    failure = TypeAdapter(Failure).json_schema()
    made["$defs"] = {**made.get("$defs", {}), "Failure": failure}
    properties = {"schema": {"const": schema_of(name)}, **made.pop("properties")}
    properties.setdefault("error", {"$ref": "#/$defs/Failure"})
    required = ["schema", *made.pop("required")]
    head = {"$schema": _DIALECT, "title": schema_of(name), "description": made.pop("description"), "type": "object"}
    made.pop("title"), made.pop("type")
    whole: dict[str, Any] = _without_titles(
        {**head, "properties": properties, "required": required, **made}, head["title"]
    )
    return whole


def rendered(name: str) -> str:
    """Return the schema as it is published."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n"


def _without_titles(value: Any, kept: str) -> Any:
    """Return the schema without the titles that pydantic makes of names; a property may be called `title`."""
    if isinstance(value, list):
        return [_without_titles(each, kept) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_titles(each, kept)
        for key, each in value.items()
        if key != "title" or not isinstance(each, str) or each == kept
    }


def main() -> None:
    """Write every schema, and leave none of a name that there is no more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.schema.json"):
        path.unlink()
    for name in SHAPES:
        (FOLDER / f"{name}.schema.json").write_text(rendered(name), encoding="utf-8")


if __name__ == "__main__":
    main()
