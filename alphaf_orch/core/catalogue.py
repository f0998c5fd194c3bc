"""Texts recognised by their templates, and what is said in their place.

One line is looked at in this order, and the first rule that knows it decides; what none knows stays as it is:

1. Two texts of ours with a semicolon between are said one by one, unless a template with a semicolon makes the whole.
2. What stands around a text is kept: spaces, bullets, a count before it, a point or a colon behind it.
3. A template makes the text: of several the one with most letters of its own. Its values are looked at likewise.
4. A problem behind the key that has it (`messages[0].content is blank`), and a name with a text in brackets.
5. Parts with a mark between (`; `, ` · `, `: `, `, `): what is known of them; with ` and ` between only both.
"""

from __future__ import annotations

import functools
import itertools
import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

# Between the parts of a text, and what is said there; `and` only where both of its sides are texts of ours.
_SEPARATORS = {"; ": "; ", " · ": " · ", ": ": ": ", ", ": ", ", " and ": ", "}
# What may stand around a text: how often it was met, or spaces, bullets, and a point or a colon behind.
_MET = re.compile(r"(\s{2,})(.*)( \([\d,]+\))|(\s*[\d,]+ x )(.*)", re.DOTALL)
_BULLETS = re.compile(r"\s*(?:[\-*#>·|]+\s+)*")  # with a space behind: `--run` is no bullet
_ENDS = string.whitespace + ":.;,"
_AROUND = _ENDS + "-*#>·|"
# What is wrong with a key behind its name (`messages[0].content is blank`), and a name with a text in brackets.
_KEYED = re.compile(
    r"('[^']+'|(?=\S*\w)\S+(?<![:;,.])) ((?:and|are|asks|differs|has|holds|is|marks|masks|may|says) .+)", re.DOTALL
)
_BRACE = re.compile("[{}]")
_MARKED = re.compile(r"[:;](?:\s|$)")
_LEAST = 8  # ours: letters of a text that is looked for behind a key; `is {value}` is found behind any word
_BRACKETED = re.compile(r"(\S+) \((.+)\)", re.DOTALL)
# Values of which the form is known, behind a word or by their names: a short template would be found in other texts.
_NUMBER = r"-?[\d,.]+"
_NUMBERED = re.compile(r"(?:^|\W)line $")
_NAMED = re.compile(
    r"(?:^|\W)key $"
)  # behind it a name stands, which may be a word of ours: `key model is given twice`
_VALUES = {
    **dict.fromkeys(("low", "high", "number", "count"), _NUMBER),
    "s": "s?",
    "span": r"(?:a (?:share|number|whole number)\b|\d).*?",  # numbers in words: `a whole number of 1 or more`
}
_FREE = ".*?"
_BEHIND = r"(?:(?:: |; |, | \().*?)?"  # of two values side by side the second may be said of the first
_BARE, _FEW = 12, 3  # ours: a value with so few letters behind it has at most so many words, as `71.6 GiB free`
_DEPTH = 4  # ours: a message in a message in a message; what is deeper stays as it is
_LONGEST = 2000  # ours: letters; what is longer is a tool's, and stays as it is
_SPLITS = 4  # ours: so many semicolons are tried as the one between two texts
_WORD = re.compile(r"(?<![\w\0])\w+(?![\w\0])")  # whole, with no value beside it (\0)


class Catalogue:
    """What is said in English and in another language; templates are tried from the most literal to the least."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        made = [Template(text, said) for text, said in texts.items() if _BRACE.search(text)]
        made.sort(key=lambda each: -each.literal)
        self._exact = {text: text for text in texts if not _BRACE.search(text)}
        self._exact |= {each.literals[0]: each.text for each in made if not each.names}
        self._texts = texts
        self._templates = [each for each in made if each.names]
        # The rarest word of each template leads to it; those without a word of their own are always tried.
        words = [_WORD.findall(each.shape) for each in self._templates]
        met = Counter(word for each in words for word in each)
        self._by_word: dict[str, list[int]] = defaultdict(list)
        for n, each in enumerate(words):
            self._by_word[min(each, key=met.__getitem__, default="")].append(n)
        self.recognised = functools.lru_cache(maxsize=4096)(self._recognised)
        self.said = functools.lru_cache(maxsize=4096)(self._said)

    def _said(self, text: str, depth: int = 0) -> str:
        """Return one line as it is said in the other language, spaces, bullets and points around it as they were."""
        if depth > _DEPTH or len(text) > _LONGEST:
            return text
        if (both := self._side_by_side(text, depth)) is not None:
            return both
        for start, end in dict.fromkeys(_framed(text)):
            if text.strip() != text[start:end] and _is_word(text):
                break
            if (whole := self._whole(text[start:end], depth)) is not None:
                return text[:start] + whole + text[end:]
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
        said = {name: each if name in template.kept else self.said(each, depth + 1) for name, each in values.items()}
        return template.filled(said)

    def _recognised(self, text: str) -> tuple[Template | None, dict[str, str]]:
        """Return the template that a text is made by, with the values in it; None where it is no text of ours."""
        if text in self._exact:
            known = self._exact[text]
            return Template(known, self._texts[known]), {}
        words = {"", *re.findall(r"\w+", text)}
        for n in sorted(n for word in words & self._by_word.keys() for n in self._by_word[word]):
            values = self._templates[n].values(text)
            if values is not None:
                return self._templates[n], values
        return None, {}

    def _side_by_side(self, text: str, depth: int) -> str | None:
        """Return what is said of two texts of ours with a semicolon between; None of others, and of a text with one."""
        if "; " not in text:
            return None
        keyed = _KEYED.fullmatch(text.strip())
        made_by = [self.recognised(part)[0] for part in (text.strip(), keyed[2] if keyed else "")]
        if any(template and ";" in template.text for template in made_by):
            return None
        for found in itertools.islice(re.finditer("; ", text), _SPLITS):
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
            if all(known) and not all(map(_is_word, (first, rest))):
                return joined.join(parts)
            ours = [n for n, given in enumerate((first, rest)) if known[n] and not _is_word(given)]
            if ours and joined == separator:
                return separator.join(parts[n] if n in ours else given for n, given in enumerate((first, rest)))
        return text


def _is_word(text: str) -> bool:
    """Whether it is one word, which may be a key of a file or a name: `name: alphaf`."""
    return " " not in text.strip(_AROUND)


def _framed(text: str) -> Iterator[tuple[int, int]]:
    """Yield where a text may begin and end in what is shown, from the least that is left out to the most."""
    if found := _MET.fullmatch(text):
        yield found.span(2) if found[2] is not None else found.span(5)
    end, bullets = len(text.rstrip()), _BULLETS.match(text)
    yield min(len(text) - len(text.lstrip()), end), end
    start = bullets.end() if bullets else 0
    yield min(start, end), end
    end = len(text.rstrip(_ENDS))
    yield min(start, end), end


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
        self.kept = {name for literal, name in zip(self.literals, self.names, strict=False) if _NAMED.search(literal)}
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
        bare = values if self.literal < _LEAST else values[:1] if self.literal < _BARE else ()
        if any(len(each.split()) > _FEW for each in bare):
            return True
        return not any(map(_MARKED.search, self.literals)) and _MARKED.search(values[0]) is not None

    def filled(self, values: Mapping[str, str]) -> str:
        """Return what is said instead, with the values in it."""
        return self._said.format_map(values)

    @functools.cached_property
    def _forms(self) -> re.Pattern[str] | None:
        """The pattern of a text whose values have a form or are side by side; None where all are free."""
        forms = [_form(name, before) for name, before in zip(self.names, self.literals, strict=False)]
        forms = [_BEHIND if n and not self.literals[n] and form == _FREE else form for n, form in enumerate(forms)]
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
