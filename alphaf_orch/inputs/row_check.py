"""The rows of one part of a JSON Lines file, checked: a short way for the usual chat row, the exact one for the rest.

Runs in processes of its own too, so it imports nothing that is slow to import.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from alphaf_orch.programs.lines import LongLineError, bounded_lines
from alphaf_orch.programs.mistakes import SHOWN, Mistakes, Unit
from alphaf_orch.programs.quality import Quality, invisible, unusual
from alphaf_orch.programs.row_keys import MASKS, OTHER_KIND, TEXT_ONLY, UNIQUE_KEYS, RowError
from alphaf_orch.programs.rows import (
    OPENAI,
    SHAREGPT,
    Format,
    Kind,
    Message,
    conversation,
    masking_keys,
    preference,
    row_format,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NEEDED = {
    "chat": "SFT needs rows with 'messages' (role, content) or ShareGPT 'conversations' (from, value)",
    "preference": "DPO needs rows with 'chosen' and 'rejected'",
}
PEEKED = 100  # ours: a file whose first hundred lines are no rows is read from its start to its end
_REREAD = "Correct or delete this row: the data loader would read the whole file wrongly"


@dataclass(frozen=True)
class Broken:
    """A line that is not UTF-8: its number and the bytes before it in the part, and its own bytes."""

    number: int
    start: int
    raw: bytes


@dataclass
class Part:
    """What was found of a part of a file; numbers of lines count from the part's own start."""

    mistakes: Mistakes
    form: Format | None = None
    lines: int = 0
    size: int = 0
    rows: int = 0
    turns: int = 0
    systems: int = 0
    digests: array[int] = field(default_factory=lambda: array("Q"))  # of each row's texts: 64 bits, no chance hit
    masks: dict[frozenset[str] | None, int] = field(default_factory=dict)  # the keys that mask turns, and a line
    system_key: bool = False
    extra_keys: bool = False
    quality: Quality = field(default_factory=Quality)
    parsed: bool = False  # a line was JSON
    unreadable: bool = False  # none was, and the rest of the part was not read
    broken: Broken | None = None


def read_part(
    file: Path, start: int, end: int, want: Kind, form: Format | None, unit: Unit = "line", name: Path | None = None
) -> Part:
    """Return what is found in the lines that begin in [start, end) of a file; `form` is that of the rows before."""
    part = Part(Mistakes(name or file, unit), form)
    checker = _Checker(part, want)
    try:
        for raw in _lines(file, start, end):
            part.lines += 1
            if part.lines == 1 and start == 0:
                # The loader of axolotl accepts a byte order mark, but only at the start.
                raw, part.size = raw.removeprefix(BYTE_ORDER_MARK), len(raw) - len(raw.removeprefix(BYTE_ORDER_MARK))
            if not checker.usual(raw):
                checker.exact(raw)
                if part.broken or part.unreadable:
                    break
            part.size += len(raw)
    except LongLineError as error:
        part.mistakes.add(part.lines + 1, str(error), fix="Write one row on each line", code="data.line_too_long")
    return part


def _lines(file: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines that begin in [start, end)."""
    with file.open("rb", buffering=1 << 20) as stream:
        if start:
            stream.seek(start - 1)
            while (over := stream.readline(1 << 20)) and not over.endswith(b"\n"):
                pass  # the rest of a line that another part has
        at = stream.tell()
        for raw in bounded_lines(stream):
            if at >= end:
                return
            yield raw
            at += len(raw)


class _Orders(dict[tuple[str, ...], str]):
    """The initials of roles in a good order (sua: system, user, assistant), found once for each; "" for a bad one."""

    def __init__(self, roles: Mapping[str, str]) -> None:
        super().__init__()
        self.roles = roles

    def __missing__(self, names: tuple[str, ...]) -> str:
        initials = "".join(self.roles.get(name, "?")[0] for name in names)
        turns = initials.removeprefix("s")
        if not turns or turns != "ua" * (len(turns) // 2):
            return ""
        self[names] = initials
        return initials


class _Checker:
    """Checks rows one after the other and counts them in its part."""

    def __init__(self, part: Part, want: Kind) -> None:
        self.part, self.want = part, want
        self._set_form(part.form)

    def _set_form(self, form: Format | None) -> None:
        self.part.form = form
        (self.role, self.content), roles = SHAREGPT if form == "conversations" else OPENAI
        self.orders = _Orders(roles)
        # A row with one of these needs the exact way.
        self.special = frozenset({*TEXT_ONLY, *OTHER_KIND, *MASKS, "prompt", "system"} - {form or ""})

    def usual(self, raw: bytes) -> bool:
        """Count a chat row of exact keys, alternating turns and visible texts; False where it must be looked at."""
        form, part = self.part.form, self.part
        if form is None or form == "preference":
            return False
        try:
            row = orjson.loads(raw)
            turns, role, content = row[form], self.role, self.content
            order = self.orders[tuple([turn[role] for turn in turns])]
            texts = [turn[content] for turn in turns]
            # str.strip fails for what is no text, and leaves nothing of a blank one.
            if not order or max(map(len, turns)) != 2 or not all(map(str.strip, texts)):
                return False
        except (ValueError, TypeError, KeyError):
            return False
        joined = "\x1f".join((order, *texts))
        # A key given twice shows as more strings in the line than in the row: the later one is all that is parsed.
        quotes = raw.count(b'"') - joined.count('"') - 8 * len(texts) - 2
        if len(row) > 1:
            if not self.special.isdisjoint(row):
                return False
            quotes -= sum(_quotes(key) + _quotes(value) for key, value in row.items() if key != form)
            part.extra_keys = True
        if quotes or b"\\u0022" in raw:
            return False
        encoded = joined.encode()
        left = unusual(encoded)
        if len(left) != len(texts):  # more than the separators
            if any(map(invisible, texts)):
                return False
            if left.count(b"\x1f") == len(texts):
                left = left.replace(b"\x1f", b"")
            part.quality.add("\n".join(texts), left)
        part.parsed = True
        self._count(order, encoded)
        return True

    def exact(self, raw: bytes) -> None:
        """Count a row that may be of any kind, or note what is wrong with it."""
        part, number = self.part, self.part.lines
        try:
            row = _parse(raw)
        except UnicodeDecodeError:
            part.broken = Broken(number, part.size, raw)
        except json.JSONDecodeError as error:
            what = f"invalid JSON: {error.msg} (column {error.colno})"
            part.mistakes.add(number, what, fix="Write one complete JSON object on each line", code="data.invalid_json")
            part.unreadable = not part.parsed and len(part.mistakes) == SHOWN
        except (ValueError, RecursionError) as error:
            cut = isinstance(error, UnicodeEncodeError)
            reason = "a \\u escape is half a surrogate pair (a cut emoji)" if cut else str(error)
            part.mistakes.add(
                number, f"invalid JSON: {reason}", fix=_REREAD, code="data.broken_text" if cut else "data.invalid_json"
            )
        else:
            if row is not _BLANK:
                part.parsed = True
                self._row(row)

    def _row(self, row: Any) -> None:
        part, want = self.part, self.want
        try:
            found = row_format(row, want)
            if part.form is None:
                self._set_form(found)
            if found != part.form:
                what = f"mixed formats: '{found}' here, '{part.form}' in the rows before"
                fix = "Keep one format in a file: convert these rows, or put them into a second file"
                part.mistakes.add(part.lines, what, fix=fix, code="data.mixed_formats")
                return
            messages = conversation(row) if want == "chat" else _both(row)
        except RowError as error:
            fix = f"Correct or delete this row. {NEEDED[want]}."
            part.mistakes.add(part.lines, str(error), key=error.key, fix=fix, code=error.code)
            return
        if any("train" in message for message in messages):
            part.masks.setdefault(masking_keys(row), part.lines)
        part.system_key |= want == "preference" and _system_beside_turns(row)
        part.extra_keys |= _has_more(row, found)
        texts = [message["content"] for message in messages]
        part.quality.add("\n".join(texts))
        order = "".join(message["role"][0] for message in messages)
        self._count(order, "\x1f".join((order, *texts)).encode())

    def _count(self, order: str, encoded: bytes) -> None:
        part = self.part
        system = order[0] == "s"
        part.rows += 1
        part.systems += system
        part.turns += len(order) - system - (self.want == "preference")
        part.digests.append(int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little"))


_BLANK = object()


def _parse(raw: bytes) -> Any:
    """Return the row of a line, or _BLANK for a blank line, which the loader of axolotl passes over as well.

    Raises UnicodeDecodeError, JSONDecodeError, and ValueError or RecursionError for what only some parsers read.
    """
    text = raw.decode("utf-8")
    if not text.strip():
        return _BLANK
    row = UNIQUE_KEYS.decode(text)
    if b"\\ud" in raw or b"\\uD" in raw:
        json.dumps(row, ensure_ascii=False).encode()
    return row


def _quotes(value: object) -> int:
    """Return the quotation marks with which a value is written in JSON without escaped ones."""
    if isinstance(value, str):
        return 2 + value.count('"')
    if isinstance(value, dict):
        return sum(_quotes(key) + _quotes(item) for key, item in value.items())
    return sum(map(_quotes, value)) if isinstance(value, list) else 0


def _both(row: Mapping[str, Any]) -> list[Message]:
    pair = preference(row)
    return [*pair.prompt, pair.chosen, pair.rejected]


def _system_beside_turns(row: Mapping[str, Any]) -> bool:
    return row.get("system") is not None and isinstance(row["chosen"], list) and len(row["chosen"]) > 1


def _has_more(row: Mapping[str, Any], form: Format) -> bool:
    """Return whether a good row, or a turn of it, has keys beyond those that hold its text and its roles."""
    used = {form} if form != "preference" else {"prompt", "system", "chosen", "rejected"}
    turn_keys = set((SHAREGPT if form == "conversations" else OPENAI)[0])
    lists = (row[key] for key in used if isinstance(row.get(key), list))
    return not row.keys() <= used or any(not turn.keys() <= turn_keys for turns in lists for turn in turns)


def first_format(file: Path, want: Kind) -> tuple[int, Format] | None:
    """Return the line and format of the first row that announces one; None where the first PEEKED lines do not."""
    with contextlib.suppress(LongLineError):
        for number, raw in enumerate(itertools.islice(_lines(file, 0, sys.maxsize), PEEKED), 1):
            with contextlib.suppress(ValueError, RecursionError):
                row = _parse(raw.removeprefix(BYTE_ORDER_MARK))
                if row is not _BLANK:
                    return number, row_format(row, want)
    return None
