"""Strict rendering: templates hold values, overrides replace whole lines, the result is parsed back and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values_template import TemplateError, UnknownVariableError, fill
from alphaf_orch.core.yaml_files import parse_yaml, read_text

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Origin(NamedTuple):
    """Who set a key, and what the recipe has in its place, as YAML; None where it has no such key."""

    by: str
    recipe: str | None


@dataclass(frozen=True)
class Rendered:
    """A file ready to be written: its text, what a YAML reader makes of it, and which keys are not the template's."""

    text: str
    values: dict[str, Any]
    origins: Mapping[str, Origin] = field(default_factory=dict)


class Spelt(_DUMPER):  # type: ignore[misc]
    """Writes shared values out in full: an alias would tie two lines together."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Return True for every value."""
        return True


class _OneLine(Spelt):
    """Writes a text with line ends in quotation marks."""


def _quoted_lines(dumper: Any, text: str) -> Any:
    # Any other style would spread a text with line ends over several lines.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None)


_OneLine.add_representer(str, _quoted_lines)


def to_yaml(value: Any) -> str:
    """Return the value as YAML on one line; `{{ x }}` alone would turn None into 'None' and 2e-5 into a string."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises the UndefinedError that names the variable
    text = yaml.dump(
        value,
        Dumper=_OneLine,
        default_flow_style=True,
        allow_unicode=True,
        sort_keys=False,
        width=2**31 - 1,
    )
    return str(text).removesuffix("\n").removesuffix("\n...")


def template_text(file: Path) -> str:
    """Return the text of a template, read once in a process unless it changes: many plans are made from one."""
    stat = file.stat()
    return _text(file, stat.st_size, stat.st_mtime_ns)


@cache
def _text(file: Path, _size: int, _mtime_ns: int) -> str:
    return read_text(file)


def render(template: Path, variables: Mapping[str, Any]) -> Rendered:
    """Return the rendered template; raise ConfigError for an unknown variable or YAML that does not parse."""
    try:
        text = fill(template_text(template), (("yaml", to_yaml),), variables)
    except UnknownVariableError as error:
        raise ConfigError(
            f"the template asks for a variable that does not exist: {error.problem}",
            where=str(template),
            fix=f"use one of: {', '.join(sorted(variables))}",
            code="config.template_variable",
        ) from None
    except TemplateError as error:
        raise ConfigError(
            f"the template cannot be read: {error.problem}",
            where=f"{template} line {error.line}" if error.line else str(template),
            fix="templates hold `{{ name | yaml }}` only",
            code="config.template_invalid",
        ) from None
    return Rendered(text, parse_yaml(text, str(template)))


def override(rendered: Rendered, layers: Sequence[tuple[str, Mapping[str, Any]]], where: str) -> Rendered:
    """Return the file with each layer's keys put in place, later layers winning, every changed line saying by whom.

    A key that the file has keeps its place and its default is shown; a new key is added at the end. Raises
    ConfigError if the text, parsed back, is not what was meant (a template with a value over several lines).
    """
    wanted = dict(rendered.values)
    origins: dict[str, Origin] = {}
    for name, layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(wanted.get(key), Mapping):
                value = {**wanted[key], **value}
            if key not in wanted or wanted[key] != value or type(wanted[key]) is not type(value):
                recipe = to_yaml(rendered.values[key]) if key in rendered.values else None
                origins[key] = Origin(name, recipe)
            wanted[key] = value
    text = rendered.text
    for key, (name, recipe) in origins.items():
        line = f"{key}: {to_yaml(wanted[key])}  # {name}"
        if recipe is not None:
            line += f"; the recipe has {recipe}"
            found = re.search(rf"^{re.escape(key)}:.*$", text, flags=re.MULTILINE)
            text = text[: found.start()] + line + text[found.end() :] if found else text
        else:
            text += line + "\n"
    if parse_yaml(text, where) != wanted:
        raise ConfigError(
            f"an override of {', '.join(sorted(origins))} did not fit into the template",
            where=where,
            fix="write each key and its value on one line of the template",
            code="config.override_lost",
        )
    return Rendered(text, wanted, {**rendered.origins, **origins})


def plain(values: dict[str, Any]) -> Rendered:
    """Return a file of one `key: value` line each, for programs of ours that need no recipe."""
    return Rendered("".join(f"{key}: {to_yaml(value)}\n" for key, value in values.items()), values)
