"""YAML as people write it: what is no mapping is refused with its place, and every key has its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import validated
from alphaf_orch.core.yaml_files import parse_document, parse_yaml, read_document


@pytest.mark.parametrize(
    ("text", "what", "where"),
    [
        (b"a: 1\nb: [\n", "it is not valid YAML: ", " line 3"),
        (b"a: \x07\n", "it is not valid YAML: the control character U+0007", " line 1"),
        (b"b: 1\na: \xff\n", "it is not UTF-8", " line 2, byte 8"),
        (b"- a\n", "it is not a mapping of keys", " line 1"),
        (b"# nothing\n", "it is not a mapping of keys", " line 1"),
    ],
)
def test_what_is_no_mapping_is_refused_with_its_place(tmp_path: Path, text: bytes, what: str, where: str) -> None:
    file = tmp_path / "설정.yaml"
    file.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        read_document(file, "it is ")
    assert caught.value.what.startswith(what)
    assert caught.value.where == f"{file}{where}"


def test_nothing_may_be_an_empty_mapping() -> None:
    assert parse_document("# nothing\n", "f", may_be_empty=True).values == {}


def test_every_key_has_its_line() -> None:
    document = parse_document("a: 1\nb:\n  a: 2\n  c: {d: 1}\n", "f")
    assert document.values == {"a": 1, "b": {"a": 2, "c": {"d": 1}}}
    assert document.lines == {("a",): 1, ("b",): 2, ("b", "a"): 3, ("b", "c"): 4, ("b", "c", "d"): 4}


class Inner(BaseModel):
    """A part."""

    model_config = ConfigDict(extra="forbid")
    size: int


class Outer(BaseModel):
    """A whole."""

    inner: Inner


@pytest.mark.parametrize(
    ("value", "key", "unknown"),
    [({"size": "x"}, "inner.size", False), ({"size": 1, "colour": 2}, "inner.colour", True), ({}, "inner.size", False)],
)
def test_the_first_value_that_a_model_refuses_is_told(value: dict[str, object], key: str, unknown: bool) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(
            Outer,
            {"inner": value},
            lambda found: ConfigError(found.key, where=str(found.unknown), fix="", code="config.x"),
        )
    assert (caught.value.what, caught.value.where) == (key, str(unknown))
    assert caught.value.__cause__ is None
    assert (
        validated(
            Outer, {"inner": {"size": 1}}, lambda _: ConfigError("", where="", fix="", code="config.x")
        ).inner.size
        == 1
    )


def test_a_key_is_what_is_written() -> None:
    text = "on: yes\nno: {off: 1}\ntrue: 2\nbase: &b {y: 1, on: 3}\nmerged: {<<: *b}\n"
    values = parse_yaml(text, "f")
    assert values == {"on": True, "no": {"off": 1}, "true": 2, "base": {"y": 1, "on": 3}, "merged": {"y": 1, "on": 3}}


def test_a_key_that_yaml_reads_as_a_truth_value_is_the_name_that_was_written() -> None:
    """`on: slurm` names a setting, and `on` is also YAML 1.1's word for true."""
    found = parse_yaml("on: slurm\nnotify: {on: [end], Yes: 1}\nsft: {bf16: on}\n", "c.yaml")
    assert found == {"on": "slurm", "notify": {"on": ["end"], "Yes": 1}, "sft": {"bf16": True}}
    with pytest.raises(ConfigError, match="given twice"):
        parse_yaml("on: slurm\n'on': local\n", "c.yaml")


def test_a_text_that_is_read_again_gives_values_of_its_own():
    text = "a: {b: [1]}\n"
    first = parse_document(text, "x")
    first.values["a"]["b"].append(2)
    first.lines.clear()
    again = parse_document(text, "x")
    assert (again.values, again.lines[("a",)]) == ({"a": {"b": [1]}}, 1)
