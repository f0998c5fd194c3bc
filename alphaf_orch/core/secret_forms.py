"""A secret in every form in which tools repeat it: parts of it, encoded, escaped, broken over lines."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote, quote_plus

SHORTEST = 8  # what is shorter would strike words that are no secret
# Where a terminal of so many columns breaks a word: the end of a line, with the frame that rich draws around texts.
_FOLD = r"[ \t│┃|]*\r?\n[ \t│┃|]*"
_FRAME = " \t│┃|\r"


def parts(text: str, is_secret: Callable[[str], bool]) -> Iterator[str]:
    """Yield a secret, the lines of one that has several (it is printed line by line), and the secrets of a JSON one."""
    yield text
    yield from (line.strip() for line in text.splitlines() if len(line.strip()) >= 2 * SHORTEST)
    if text.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):  # it only begins like JSON, or nests too deep
            values = json.loads(text)
            for name, value in values.items() if isinstance(values, dict) else ():
                if is_secret(name) and isinstance(value, str) and len(value) >= SHORTEST:
                    yield from parts(value, is_secret)


def forms(text: str) -> Iterator[str]:
    """Yield a secret as tools repeat it: in an address, a page, JSON, python, a shell, inside any base64."""
    yield from (text, quote(text), quote(text, safe=""), quote_plus(text), html.escape(text))
    yield from (repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    yield shlex.quote(text).strip("'")
    data = text.encode("utf-8", "surrogateescape")
    for lead, first in ((0, 0), (1, 2), (2, 3)):  # by where it begins in a group of three bytes
        coded = base64.b64encode(bytes(lead) + data).decode()[first : (lead + len(data)) * 8 // 6]
        if len(coded) > SHORTEST:
            yield from (coded, coded.replace("+", "-").replace("/", "_"))


def folded(text: str, secrets: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where secrets stand that are broken over lines: long ones, for only those are."""
    long = [secret for secret in secrets if len(secret) >= 2 * SHORTEST]
    if not long or "\n" not in text:
        return
    joined = "".join(line.strip(_FRAME) for line in text.split("\n"))  # a pattern would try each blank of a long run
    for secret in long:
        if joined.count(secret) > text.count(secret):
            broken = f"(?:{_FOLD})?".join(map(re.escape, secret))
            yield from (found.span() for found in re.finditer(broken, text))
