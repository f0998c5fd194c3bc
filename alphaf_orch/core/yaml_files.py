"""YAML as people write it: read as a mapping with the line of every key, a mistake told with its file and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from alphaf_orch.core.errors import ConfigError

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 8  # a mapping may hold itself by an alias


class Document(NamedTuple):
    """The mapping that a text holds, and where it stands in it."""

    values: dict[str, Any]
    node: yaml.Node | None

    def key_lines(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """Yield every key, with the keys above it, and its line; one that is given twice comes twice."""
        return _key_lines(self.node, ())


def _key_lines(node: yaml.Node | None, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode) and len(above) < _DEEPEST:
        for key, value in node.value:
            keys = (*above, str(key.value))
            yield keys, key.start_mark.line + 1
            yield from _key_lines(value, keys)


def place_of(path: Path, keys: tuple[str, ...]) -> str:
    """Return where a key, with those above it, stands in a YAML file: `FILE line 7, key sft.lora_r`.

    Without the line where it is not written there.
    """
    lines = dict(read_document(path).key_lines())
    line = next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), None)
    return f"{path}{f' line {line}' if line else ''}, key {'.'.join(keys)}"


def read_text(path: Path, subject: str = "") -> str:
    """Return the text of a file; raise ConfigError where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{subject}not UTF-8", where=f"{path}, byte {error.start}", fix="save it as UTF-8") from None


def read_document(path: Path, subject: str = "", **options: Any) -> Document:
    """Return what parse_document makes of a file."""
    return parse_document(read_text(path, subject), str(path), subject, **options)


def parse_document(
    text: str,
    where: str,
    subject: str = "",
    *,
    loader: Any = LOADER,
    may_be_empty: bool = False,
    example: str = "write `key: value` lines",
) -> Document:
    """Return the mapping that a YAML text holds; raise ConfigError with the line where it is none."""
    try:
        reader = loader(text)
        node = reader.get_single_node()
        values = reader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        what = f"{subject}not valid YAML: {error.problem}"
        raise ConfigError(what, where=f"{where} line {line}", fix="mend that line") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{subject}not valid YAML: {error}", where=where, fix="remove that character") from None
    if values is None and may_be_empty:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{subject}not a mapping of keys", where=f"{where} line 1", fix=example)
    return Document(values, node)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Return the values of parse_document."""
    return parse_document(text, where).values
