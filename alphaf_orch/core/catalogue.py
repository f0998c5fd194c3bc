"""Texts recognised by their templates (`template.py`), and what is said in their place.

A line is looked at in this order, and the first rule that knows it decides. What none knows stays as it is, and so
does what was said already, what is longer than any message, and what is deeper than a message in a message in one.

1. Two texts of ours with a semicolon between are said one by one, unless a template with a semicolon makes the whole.
2. What stands around a text is kept: how often it was met, spaces, bullets, a point or a colon behind it. One word is
   a text of ours only with nothing around it but spaces: `name: alphaf` and `template:` are lines of somebody's file.
3. A template makes the text: of several the one with most letters of its own. Its values are looked at likewise, but
   a name behind `key`.
4. A problem behind the key that has it (`messages[0].content is blank`), and a name with a text in brackets.
5. Parts with a mark between (`; `, ` · `, `: `, `, `): what is known of them, but for what tools say as
   well (one word, `line 12`, `error: …`); with ` and ` between only both.
"""

from __future__ import annotations

import functools
import itertools
import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from alphaf_orch.core.template import LEAST, Template

# Between the parts of a text, and what is said there; `and` only where both of its sides are texts of ours.
_COLUMNS = "  "
_SEPARATORS = {"; ": "; ", " · ": " · ", _COLUMNS: _COLUMNS, ": ": ": ", ", ": ", ", " and ": ", "}
# What may stand around a text: how often it was met, or spaces, bullets, and a point or a colon behind.
_MET = re.compile(r"(\s{2,})(.*)( \([\d,]+\))|(\s*[\d,]+ x )(.*)", re.DOTALL)
_BULLETS = re.compile(r"\s*(?:[\-*#>·|]+\s+)*")  # with a space behind: `--run` is no bullet
_ENDS = string.whitespace + ":.;,"
_AROUND = _ENDS + "-*#>·|"
# What is wrong with a key behind its name (`messages[0].content is blank`), and a name with a text in brackets.
_KEYED = re.compile(
    r"('[^']+'|(?=\S*\w)\S+(?<![:;,.])) ((?:and|are|asks|differs|has|holds|is|marks|masks|may|says) .+)", re.DOTALL
)
_NAMES = frozenset(("key", "value", "name", "next", "close", "nearest", "near", "column", "option", "stage", "suite"))
_TOOLS = re.compile(r"\s*(?:line \d|(?:error|warning): )")
_BRACE = re.compile("[{}]")
_BRACKETED = re.compile(r"(\S+) \(((?:[^()]|\([^()]*\))+)\)", re.DOTALL)
_DEPTH = 4  # ours: a message in a message in a message; what is deeper stays as it is
_LONGEST = 2000  # ours: letters; what is longer is a tool's, and stays as it is
_KEPT = 4096  # ours: texts that are remembered, for the next time and for what was said already
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
        self.recognised = functools.lru_cache(maxsize=_KEPT)(self._recognised)
        self._within = functools.lru_cache(maxsize=_KEPT)(self._said)
        self._results: set[str] = set()

    def said(self, line: str) -> str:
        """Return one line as it is said in the other language, spaces, bullets and points around it as they were."""
        if line in self._results:
            return line
        said = self._within(line, 0)
        if said != line:
            if len(self._results) >= _KEPT:
                self._results.clear()
            self._results.add(said)
        return said

    def _said(self, text: str, depth: int) -> str:
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
        if keyed and (problem := self._made(keyed[2], depth, least=LEAST)):
            return f"{self._within(keyed[1], depth + 1)}: {problem}"
        if bracketed and (about := self._within(bracketed[2], depth + 1)) != bracketed[2]:
            return f"{bracketed[1]}({about})"
        return None

    def _made(self, text: str, depth: int, *, least: int = 0) -> str | None:
        template, values = self.recognised(text)
        if template is None or template.literal < least:
            return None
        said = {
            name: each if name in template.kept or _is_name(name, each) else self._within(each, depth + 1)
            for name, each in values.items()
        }
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
        behind = [text[found.end() :].strip() for found in re.finditer(": ", text)]  # a next step with a mark in it
        own = (text.strip(), keyed[2] if keyed else "", *behind[:_SPLITS])
        made_by = [self.recognised(part)[0] for part in own if ";" in part]
        if any(template and ";" in template.text for template in made_by):
            return None
        for found in itertools.islice(re.finditer("; ", text), _SPLITS):
            parts = text[: found.start()], text[found.end() :]
            said = [self._within(part, depth + 1) for part in parts]
            if said[0] != parts[0] and said[1] != parts[1]:
                return "; ".join(said)
        return None

    def _in_parts(self, text: str, depth: int) -> str:
        for separator, joined in _SEPARATORS.items():
            # Columns stand side by side, however many; behind another mark may be one text with more of them.
            found = text.split(separator, maxsplit=-1 if separator == _COLUMNS else 1)
            if len(found) == 1:
                continue
            parts = [self._within(part, depth + 1) for part in found]
            known = [part != given for part, given in zip(parts, found, strict=True)]
            if all(known) and not all(map(_is_word, found)):
                return joined.join(parts)
            ours = [n for n, given in enumerate(found) if known[n] and not _is_anybodys(given)]
            if ours and joined == separator:
                return separator.join(parts[n] if n in ours else given for n, given in enumerate(found))
        return text


def _is_name(value: str, said: str) -> bool:
    """Whether a value is what somebody calls something, though it is a word of ours too: a key `model`."""
    return value.rstrip(string.digits) in _NAMES and said.isidentifier()


def _is_word(text: str) -> bool:
    """Whether it is one word, which may be a key of a file or a name: `name: alphaf`."""
    return " " not in text.strip(_AROUND)


def _is_anybodys(text: str) -> bool:
    """Whether a tool says it as well as we do, beside what is none of ours: one word, `line 12`, `error: …`."""
    return _is_word(text) or _TOOLS.match(text) is not None


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
