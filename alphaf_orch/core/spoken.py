"""The one boundary at which a text is said in the reader's language: messages are written in English and kept so.

What alphaf, its children and its records say stays English in files, logs and JSON, and is recognised where it is
shown: by its template in the catalogues `locale/ko/*.json` (`tools/messages.py` writes them), its values likewise.
"""

from __future__ import annotations

import functools
import json
import os
import re
import string
from pathlib import Path

import click

from alphaf_orch.core.called import as_called
from alphaf_orch.core.wording import Language

_CATALOGUES = Path(__file__).resolve().parents[1] / "locale"
_SEPARATORS = ("; ", " · ", ": ", ", ")
# What may stand around a text: spaces, then bullets, then a point or a colon too.
_FRAMES = [
    re.compile(each, re.DOTALL)
    for each in (r"(\s*)(.*?)(\s*)", r"([\s\-*#>·|]*)(.*?)(\s*)", r"([\s\-*#>·|]*)(.*?)([\s:.;,]*)")
]
_DEPTH = 4  # ours: a message in a message in a message; what is deeper stays as it is


def language() -> Language:
    """Return the language of messages: what ALPHAF_LANG says, else Korean where the locale of messages is Korean."""
    asked = os.environ.get("ALPHAF_LANG", "").strip().lower()
    if not asked:
        asked = next((os.environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(key)), "")
    return "ko" if asked.lower().startswith("ko") else "en"


def spoken(text: str) -> str:
    """Return a text of ours in the reader's language, its commands as alphaf was called; what is not ours as it is."""
    if language() == "en" or not text:
        return as_called(text)
    return as_called("\n".join(_catalogue().said(line) for line in text.split("\n")))


def say(text: str = "", *, err: bool = False) -> None:
    """Print a text in the reader's language, to stdout or stderr."""
    click.echo(spoken(text), err=err)


class Catalogue:
    """What is said in English and in another language; templates are tried from the most literal to the least."""

    def __init__(self, texts: dict[str, str]) -> None:
        made = sorted((Template(text, said) for text, said in texts.items()), key=lambda each: -each.literal)
        self._exact = {each.needle: each for each in made if not each.has_values}
        self._templates = [each for each in made if each.has_values]

    def said(self, text: str, depth: int = 0) -> str:
        """Return one line as it is said in the other language, spaces, bullets and points around it as they were."""
        if depth > _DEPTH:
            return text
        for frame in _FRAMES:
            before, inner, after = _cut(frame, text)
            template, values = self.recognised(inner)
            if template:
                return (
                    before + template.filled({key: self.said(each, depth + 1) for key, each in values.items()}) + after
                )
        return self._in_parts(text, depth)

    def recognised(self, text: str) -> tuple[Template | None, dict[str, str]]:
        """Return the template that a text is made by, with the values in it; None where it is no text of ours."""
        if text in self._exact:
            return self._exact[text], {}
        for template in self._templates:
            values = template.values(text)
            if values is not None:
                return template, values
        return None, {}

    def _in_parts(self, text: str, depth: int) -> str:
        for separator in _SEPARATORS:
            first, found, rest = text.partition(separator)
            parts = [self.said(part, depth + 1) for part in (first, rest)]
            if found and parts != [first, rest]:
                return separator.join(parts)
        return text


class Template:
    """A text with values in it, how it is recognised, and what is said in its place; braces as in `str.format`."""

    def __init__(self, text: str, said: str) -> None:
        self.text, self._said = text, said
        self._parts = [(literal, name) for literal, name, _, _ in string.Formatter().parse(text)]
        self.has_values = any(name is not None for _, name in self._parts)
        literals = [literal for literal, _ in self._parts]
        # What must be in a text of it, and is asked for before the pattern is; without values all of it.
        self.needle = max(literals, key=len) if self.has_values else "".join(literals)
        self.literal = sum(map(len, literals))

    def values(self, text: str) -> dict[str, str] | None:
        """Return the values by name where the text is made by this template."""
        found = self._pattern.fullmatch(text) if self.needle in text else None
        return found.groupdict() if found else None

    def filled(self, values: dict[str, str]) -> str:
        """Return what is said instead, with the values in it."""
        return self._said.format_map(values)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        made, seen = "", set()
        for literal, name in self._parts:
            made += re.escape(literal)
            if name is not None:
                made += f"(?P={name})" if name in seen else f"(?P<{name}>.*?)"
                seen.add(name)
        return re.compile(made, re.DOTALL)


def _cut(frame: re.Pattern[str], text: str) -> tuple[str, str, str]:
    found = frame.fullmatch(text)
    assert found  # each of them matches any text
    return found[1], found[2], found[3]


@functools.cache
def _catalogue() -> Catalogue:
    texts: dict[str, str] = {}
    for path in sorted((_CATALOGUES / "ko").glob("*.json")):
        texts |= {text: said for text, said in json.loads(path.read_text(encoding="utf-8")).items() if said}
    return Catalogue(texts)
