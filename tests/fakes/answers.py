"""What a command prints with --json, read as strictly as a program of somebody else might read it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NoReturn

from jsonschema import Draft202012Validator

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas" / "output"
seen: set[str] = set()  # the names of the answers that were checked in this process


def checked(stdout: str) -> Any:
    """Return the one value; fail where it is not one, no JSON, or has a key that its schema does not name."""
    value = json.loads(stdout, parse_constant=_no_json)
    maker, name, version = value["schema"].split("/")
    assert (maker, version) == ("alphaf", "1")
    validator(name).validate(value)
    seen.add(name)
    return value


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """Return what holds a value to the published schema, and to its keys alone: readers must not mind new ones."""
    found = json.loads((PUBLISHED / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(_closed(found))


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    closed = {key: _closed(each) for key, each in value.items()}
    if value.get("type") == "object" and isinstance(value.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _no_json(word: str) -> NoReturn:
    raise AssertionError(f"{word} is no JSON")
