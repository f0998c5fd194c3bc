"""YAML as people write it: read as a mapping with the line of every key, a mistake told with its file and line.

Bounded: what aliases stand for is counted, nothing nests deeper than a person can read, no key is given twice.
"""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.small_files import small_text

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 50  # ours: the deepest file of ours has 6 levels; every reader behind this one calls itself for a level
MOST_VALUES = 100_000  # ours: the largest file of ours has 200; ten aliases of ten, nine times over, are a billion
_BITS, _DIGITS = 64, 100  # ours: no tool takes a larger whole number; PyYAML reads 1:1:1:… in quadratic time
# What YAML 1.1 takes, as PyYAML has it (reader.py, NON_PRINTABLE).
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_BOOL, _STR = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str"
_KEPT = 1 << 15  # ours, in characters: the longest of ours have some thousand


class _Unread(yaml.MarkedYAMLError):
    """What is YAML, and is not read."""

    def __init__(self, problem: str, part: Any) -> None:
        super().__init__(problem=problem, problem_mark=part.start_mark)


class LOADER(_BASE):  # type: ignore[misc]
    """Safe YAML in which a value that is none of its tag's kind is a mistake with a line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; raise MarkedYAMLError where there is none that a tool could take."""
        if node.tag in _NUMBERS and len(node.value) > _DIGITS:
            raise _Unread(f"a number of {len(node.value):,} digits", node)
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, KeyError, AttributeError, TypeError):
            # So PyYAML's constructors end on `!!int x`, `!!bool x`, `!!timestamp x` and the date 2001-13-45.
            kind = node.tag.rpartition(":")[2]
            raise _Unread(f"{str(node.value)[:40]!r} is no {kind} of YAML", node) from None
        if isinstance(value, set | bytes):  # no JSON holds it, and no setting takes it
            raise _Unread(f"a value of the kind {node.tag.rpartition(':')[2]}", node)
        if isinstance(value, datetime.date):
            return node.value  # as it is written
        if type(value) is int and value.bit_length() > _BITS:
            raise _Unread(f"{value} has more than {_BITS} bits", node)
        return value


class Document(NamedTuple):
    """The mapping that a text holds, and where its keys stand in it."""

    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]  # of every key and entry of a list, with those above it


def place_of(path: Path, keys: tuple[str, ...]) -> str:
    """Return where a key, with those above it, stands in a YAML file: `FILE line 7, key sft.lora_r`.

    Without the line where it is not written there.
    """
    lines = read_document(path).lines
    line = next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), None)
    return f"{path}{f' line {line}' if line else ''}, key {'.'.join(map(str, keys))}"


def read_text(path: Path, subject: str = "") -> str:
    """Return the text of a file; raise ConfigError where it is not UTF-8, no regular file or too large."""
    return small_text(path, subject=subject)


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
        lines, values = _composed(text, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        twice = "is given twice" in str(error.problem)
        told = "" if subject.endswith("is ") else subject  # `the config is`, of which a key is no more to be said
        what = f"{told}{error.problem}" if twice else f"{subject}not valid YAML: {error.problem}"
        fix = "keep one of the two" if twice else "mend that line"
        raise ConfigError(
            what, where=f"{where} line {line}", fix=fix, code="config.given_twice" if twice else "config.invalid_yaml"
        ) from None
    except yaml.YAMLError as error:
        found = _CONTROL.search(text)
        what = f"the control character U+{ord(found[0]):04X}" if found else str(error)
        place = f"{where} line {text.count(chr(10), 0, found.start()) + 1}" if found else where
        raise ConfigError(
            f"{subject}not valid YAML: {what}", where=place, fix="remove that character", code="config.invalid_yaml"
        ) from None
    if values is None and may_be_empty:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{subject}not a mapping of keys", where=f"{where} line 1", fix=example, code="config.not_a_mapping"
        )
    return Document(values, lines)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Return the values of parse_document."""
    return parse_document(text, where).values


def parse_any(text: str) -> Any:
    """Return the value of a YAML text, a mapping or not; raise YAMLError where it has none, within the same bounds."""
    return _composed(text, LOADER)[1]


def _composed(text: str, loader: Any) -> tuple[dict[tuple[str, ...], int], Any]:
    """Return the line of every key, and the value; both are the caller's own."""
    read = _read if len(text) <= _KEPT else _read.__wrapped__
    lines, value = read(text, loader)
    return dict(lines), copy.deepcopy(value)


@lru_cache(maxsize=256)  # many plans of one process read the same presets, layers and recipes
def _read(text: str, loader: Any) -> tuple[dict[tuple[str, ...], int], Any]:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise yaml.YAMLError("half of a surrogate pair") from None
    _refuse_depth(text)
    reader = loader(text)
    node = reader.get_single_node()
    if node is None:
        return {}, None
    _count(node, {}, ())
    lines = dict(_key_lines(node, ()))  # before merges (`<<`) are written into the nodes
    return lines, reader.construct_document(node)


def _refuse_depth(text: str) -> None:
    """Raise for what nests too deep, before it is composed: the composers of libyaml and PyYAML call themselves."""
    if len(text) <= DEEPEST:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_BASE):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise _Unread(f"it nests more than {DEEPEST} levels deep", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _count(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Return how many values a node stands for; raise for too many, for one that holds itself and for a key twice."""
    if id(node) in above:
        raise _Unread("an alias that holds itself", node)
    if id(node) in known:
        return known[id(node)]
    if isinstance(node, yaml.ScalarNode):
        if "\0" in node.value:
            raise _Unread("a NUL character, which no text of a tool holds", node)
        return 1
    if isinstance(node, yaml.MappingNode):
        _refuse_twice(node)
    parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
    count = 1
    for part in parts:
        count += _count(part, known, (*above, id(node)))
        if count > MOST_VALUES:
            raise _Unread(f"it stands for more than {MOST_VALUES:,} values, by its aliases", part)
    known[id(node)] = count
    return count


def _refuse_twice(node: yaml.MappingNode) -> None:
    """Raise for a key that is given twice; one such as `on`, which YAML 1.1 reads as a truth value, is a name."""
    seen: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag == _BOOL:
            key.tag = _STR
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                line = seen[key.tag, key.value]
                raise _Unread(f"key {key.value} is given twice, first on line {line}", key)
            seen[key.tag, key.value] = key.start_mark.line + 1


def _key_lines(node: yaml.Node, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            keys = (*above, str(key.value))
            yield keys, key.start_mark.line + 1
            yield from _key_lines(value, keys)
    if isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*above, str(number)), value.start_mark.line + 1
            yield from _key_lines(value, (*above, str(number)))
