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
# Between the parts of a text, and what is said there; `and` only where both of its sides are texts of ours.
_SEPARATORS = {"; ": "; ", " · ": " · ", "  ": "  ", ": ": ": ", ", ": ", ", " and ": ", "}
_MARKS = ":;,. "
# What may stand around a text: how often it was met, else spaces, then bullets, then a point or a colon too.
_FRAMES = [
    re.compile(each, re.DOTALL)
    for each in (
        r"(\s{2,})(.*)( \([\d,]+\))",
        r"(\s*[\d,]+ x )(.*)()",
        r"(\s*)(.*?)(\s*)",
        r"((?:[\-*#>·|]+\s|\s)*)(.*?)(\s*)",  # of `--model` the marks are the name's
        r"((?:[\-*#>·|]+\s|\s)*)(.*?)([\s:.;,]*)",
    )
]
# What is wrong with a key behind its name (`messages[0].content is blank`), and a name with a text in brackets.
_KEYED = re.compile(
    r"('[^']+'|\S*\w\S*(?<![:;,.])) ((?:and|are|asks|differs|has|holds|is|marks|masks|may|says) .+)", re.DOTALL
)
_MARKED = re.compile(r"[:;](?:\s|$)")
_LEAST = 8  # ours: letters of a text that is looked for behind a key; `is {value}` is found behind any word
_BRACKETED = re.compile(r"(\S+) \(((?:[^()]|\([^()]*\))+)\)", re.DOTALL)
# Values of which the form is known, behind a word or by their names: a short template would be found in other texts.
_NUMBER = r"-?[\d,.]+"
_AMOUNT = r"-?[\d,.]+M?(?: (?:s|min|h|days|bytes|[KMGT]i?B))?"  # with the unit that it is said in
_NUMBERED = re.compile(r"(?:^|\W)line $")
_VALUES = {
    **dict.fromkeys(("number", "count"), _NUMBER),
    **dict.fromkeys(("low", "high", "amount", "room"), _AMOUNT),
    "s": "s?",
    "span": r"(?:an? |\d).*?",  # numbers in words: `a whole number of 1 or more`
}
_NAMES = frozenset(("key", "value", "name", "next", "close", "nearest", "near", "column", "option", "stage", "suite"))
_BEHIND = r"(?:(?:: |; |, | \().*?)?"  # of two values side by side the second may be said of the first
_BARE, _FEW = 12, 3  # ours: a value with so few letters behind it has at most so many words, as `71.6 GiB free`
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
        self.recognised = functools.lru_cache(maxsize=4096)(self._recognised)

    def said(self, text: str, depth: int = 0) -> str:
        """Return one line as it is said in the other language, spaces, bullets and points around it as they were."""
        if depth > _DEPTH:
            return text
        if (both := self._side_by_side(text, depth)) is not None:
            return both
        for frame in _FRAMES:
            found = frame.fullmatch(text)
            whole = self._whole(found[2], depth) if found else None
            if found and whole is not None:
                return found[1] + whole + found[3]
        return self._in_parts(text, depth)

    def _whole(self, text: str, depth: int) -> str | None:
        """Return what is said of a text that a template makes, or one behind a key or in brackets; None of others."""
        if said := self._made(text, depth):
            return said
        keyed, bracketed = _KEYED.fullmatch(text), _BRACKETED.fullmatch(text)
        if keyed and (problem := self._made(keyed[2], depth, least=_LEAST)):
            return f"{self.said(keyed[1], depth + 1)}: {problem}"
        if bracketed and (about := self.said(bracketed[2], depth + 1)) != bracketed[2]:
            return f"{bracketed[1]}({about})"
        return None

    def _made(self, text: str, depth: int, *, least: int = 0) -> str | None:
        template, values = self.recognised(text)
        if template is None or template.literal < least:
            return None
        said = {key: each if _a_name(key, each) else self.said(each, depth + 1) for key, each in values.items()}
        return template.filled(said)

    def _recognised(self, text: str) -> tuple[Template | None, dict[str, str]]:
        """Return the template that a text is made by, with the values in it; None where it is no text of ours."""
        if text in self._exact:
            return self._exact[text], {}
        for template in self._templates:
            values = template.values(text)
            if values is not None:
                return template, values
        return None, {}

    def _side_by_side(self, text: str, depth: int) -> str | None:
        """Return what is said of two texts of ours with a semicolon between; None of others, and of a text with one."""
        keyed = _KEYED.fullmatch(text.strip())
        behind = [text[found.end() :].strip() for found in re.finditer(": ", text)]  # a next step with a mark in it
        own = (text.strip(), keyed[2] if keyed else "", *behind)
        made_by = [self.recognised(part)[0] for part in own if ";" in part]
        if any(template and ";" in template.text for template in made_by):
            return None
        for found in re.finditer("; ", text):
            parts = text[: found.start()], text[found.end() :]
            said = [self.said(part, depth + 1) for part in parts]
            if said[0] != parts[0] and said[1] != parts[1]:
                return "; ".join(said)
        return None

    def _in_parts(self, text: str, depth: int) -> str:
        for separator, joined in _SEPARATORS.items():
            first, found, rest = text.partition(separator)
            if not found:
                continue
            parts = [self.said(part, depth + 1) for part in (first, rest)]
            known = [part != given for part, given in zip(parts, (first, rest), strict=True)]
            # In a list of names one that is a word of ours too is a name.
            a_name = separator == ", " and known == [True, False] and " " not in first
            if all(known) or (any(known) and joined == separator and not a_name):
                return joined.join(parts)
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
        self._marked = any(_MARKED.search(literal) for literal in literals)

    def values(self, text: str) -> dict[str, str] | None:
        """Return the values by name where the text is made by this template."""
        found = self._pattern.fullmatch(text) if self.needle in text else None
        return found.groupdict() if found and not self._swallows(found) else None

    def _swallows(self, found: re.Match[str]) -> bool:
        """Whether what it begins with is a text with a mark and more behind, and it has no mark itself: two texts.

        Or more words than are said before so few letters.
        """
        literal, name = self._parts[0]
        before, last = self._parts[-1]  # what stands right behind a value is said of it, marks and all
        if self.literal < _BARE and before and last and not self._marked and _MARKED.search(found[last]):
            return True
        if literal or name is None:
            return False
        if self.literal < _BARE and name not in _VALUES and len(found[name].split()) > _FEW:
            return True
        return not self._marked and _MARKED.search(found[name]) is not None

    def filled(self, values: dict[str, str]) -> str:
        """Return what is said instead, with the values in it."""
        return self._said.format_map(values)

    @functools.cached_property
    def _pattern(self) -> re.Pattern[str]:
        made, seen = "", set()
        for n, (literal, name) in enumerate(self._parts):
            made += re.escape(literal)
            if name is not None:
                value = _NUMBER if _NUMBERED.search(literal) else _VALUES.get(name.rstrip(string.digits), ".*?")
                if n and not literal and value == ".*?":
                    value = _BEHIND
                made += f"(?P={name})" if name in seen else f"(?P<{name}>{value})"
                seen.add(name)
        return re.compile(made, re.DOTALL)


def _a_name(key: str, value: str) -> bool:
    """Whether a value is what somebody calls something, though it is a word of ours too: a key `model`."""
    return key.rstrip(string.digits) in _NAMES and value.isidentifier()


@functools.cache
def _catalogue() -> Catalogue:
    texts: dict[str, str] = {}
    for path in sorted((_CATALOGUES / "ko").glob("*.json")):
        found = {text: said for text, said in json.loads(path.read_text(encoding="utf-8")).items() if said}
        if path.stem == "libraries":  # what they say is put behind a text of ours
            found |= {text[0].lower() + text[1:]: said for text, said in found.items()}
        texts |= found
    # What stands before or behind another text is met without its mark too, where that was taken for a separator.
    plain = {text.strip(_MARKS): said.strip(_MARKS) for text, said in texts.items() if text != text.strip(_MARKS)}
    return Catalogue(plain | texts)
