"""One text with values in it: whether it makes what is shown, and what is said in its place.

Values are as short as they can be and may be anything, but those of a known form (a number, `s`, a span of numbers)
and those right behind another value, which begin with a mark. A template that begins with a value does not swallow
a text with a mark of its own, nor, with few letters, a sentence.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Mapping, Sequence

from alphaf_orch.core.particles import with_particles

_MARKED = re.compile(r"[:;](?:\s|$)")
LEAST = 8  # ours: letters of a text that is looked for behind a key; `is {value}` is found behind any word
# Values of which the form is known, behind a word or by their names: a short template would be found in other texts.
_NUMBER = r"-?[\d,.]+"
_AMOUNT = r"-?[\d,.]+M?(?: (?:s|min|h|days|bytes|[KMGT]i?B))?"  # with the unit that it is said in
_NUMBERED = re.compile(r"(?:^|\W)line $")
_TYPED = frozenset(("command", "called"))  # what somebody typed: `alphaf run`
_NAMED = re.compile(r"(?:^|\W)key $")  # a name is behind it, which may be a word of ours: `key model is given twice`
_VALUES = {
    **dict.fromkeys(("number", "count"), _NUMBER),
    **dict.fromkeys(("low", "high", "amount", "room"), _AMOUNT),
    "s": "s?",
    "span": r"(?:a (?:share|number|whole number)\b|\d).*?",  # numbers in words: `a whole number of 1 or more`
}
_FREE = ".*?"
_BEHIND = r"(?:(?:: |; |, | \().*?)?"  # of two values side by side the second may be said of the first
_BARE, _FEW = 12, 3  # ours: a value with so few letters behind it has at most so many words, as `71.6 GiB free`


class Template:
    """A text with values in it, how it is recognised, and what is said in its place; braces as in `str.format`."""

    def __init__(self, text: str, said: str) -> None:
        self.text, self._said = text, said
        self.literals, self.names = [""], []
        for literal, name, _, _ in string.Formatter().parse(text):
            self.literals[-1] += literal
            if name is not None:
                self.names.append(name)
                self.literals.append("")
        named = {name for literal, name in zip(self.literals, self.names, strict=False) if _NAMED.search(literal)}
        self.kept = named | _TYPED.intersection(self.names)
        self.shape = "\0".join(self.literals)
        self.literal = len(self.shape) - len(self.names)

    def values(self, text: str) -> dict[str, str] | None:
        """Return the values by name where the text is made by this template."""
        values = self._between(text)
        if values is None or self._swallows(values):
            return None
        named = dict(zip(self.names, values, strict=True))
        return named if [named[name] for name in self.names] == [*values] else None  # one that is there twice

    def _between(self, text: str) -> Sequence[str] | None:
        """Return what stands between the literals, each as short as it can be; None where they are not all there."""
        first, *middle, last = self.literals
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return None
        values = []
        for literal in middle:
            found = text.find(literal, at, end)
            if found < 0:
                return None
            values.append(text[at:found])
            at = found + len(literal)
        if self._forms is None:
            return [*values, text[at:end]]
        matched = self._forms.fullmatch(text)
        return matched.groups("") if matched else None

    def _swallows(self, values: Sequence[str]) -> bool:
        """Whether what it begins with is a text with a mark and more behind, and it has no mark itself: two texts.

        Or more words than are said before so few letters.
        """
        if self.literals[0] or self.names[0] in _VALUES:
            return False
        bare = values if self.literal < LEAST else values[:1] if self.literal < _BARE else ()
        if any(len(each.split()) > _FEW for each in bare):
            return True
        return not any(map(_MARKED.search, self.literals)) and _MARKED.search(values[0]) is not None

    def filled(self, values: Mapping[str, str]) -> str:
        """Return what is said instead, with the values in it."""
        return with_particles(self._said, values).format_map(values)

    @functools.cached_property
    def _forms(self) -> re.Pattern[str] | None:
        """The pattern of a text whose values have a form or are side by side; None where all are free."""
        forms = [_form(name, before) for name, before in zip(self.names, self.literals, strict=False)]
        forms = [_BEHIND if n and not self.literals[n] and form == _FREE else form for n, form in enumerate(forms)]
        first = [self.names.index(name) for name in self.names]
        forms = [
            form if at == n or self.literals[n] else rf"\{at + 1}"
            for n, (at, form) in enumerate(zip(first, forms, strict=True))
        ]
        if all(form == _FREE for form in forms):
            return None
        made = re.escape(self.literals[0])
        for form, literal, later in zip(forms, self.literals[1:], [*forms[1:], ""], strict=True):
            # Where another free value follows the first place is as good as any: nothing is tried twice.
            settled = form == later == _FREE
            made += f"(?>({form}){re.escape(literal)})" if settled else f"({form}){re.escape(literal)}"
        return re.compile(made, re.DOTALL)


def _form(name: str, before: str) -> str:
    return _NUMBER if _NUMBERED.search(before) else _VALUES.get(name.rstrip(string.digits), _FREE)
