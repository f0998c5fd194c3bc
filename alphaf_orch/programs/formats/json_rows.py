"""JSON as people write rows: one object a line, pretty-printed, an array, or a list inside an object.

Read by `json`, not by the JSON loader of `datasets` (4.8.4): that gives a column one type, so that the answer
"2024-01-01" becomes a date and the answer "3" beside numbers a number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from alphaf_orch.programs.formats.columns import SIDES, TURNS
from alphaf_orch.programs.lines import LongLineError, bounded_lines
from alphaf_orch.programs.row_keys import UNIQUE_KEYS

Numbered = Iterator[tuple[int, Any]]
_BLANK = " \t\r\n"
_DOCUMENT_BYTES = 1 << 30  # ours: as text and as values it takes some ten times as much memory


class NotRows(ValueError):
    """A file that holds no rows that can be read; str() says why, `line` where, None for the whole file."""

    def __init__(self, what: str, line: int | None = None, *, code: str) -> None:
        super().__init__(what)
        self.line = line
        self.code = code


def json_rows(stream: IO[bytes]) -> tuple[str, Numbered]:
    """Return what kind of JSON the stream is, and its rows with the lines they begin on.

    JSON Lines are read line by line, all else is held as text. Raises NotRows, also while the rows are taken.
    """
    number, first = 1, stream.readline(_DOCUMENT_BYTES + 1).removeprefix(b"\xef\xbb\xbf")
    while first and not first.strip():
        number, first = number + 1, stream.readline(_DOCUMENT_BYTES + 1)
    if not first:
        raise NotRows("the file has no rows", code="data.no_rows")
    if _is_object(first):
        return "JSON Lines", _lines(number, first, stream)
    whole = first + stream.read(_DOCUMENT_BYTES + 1 - len(first))
    if len(whole) > _DOCUMENT_BYTES:
        what = (
            f"JSON of more than {_DOCUMENT_BYTES >> 20} MiB that is not JSON Lines, and would be held in memory whole"
        )
        raise NotRows(f"{what}: write one object a line (jq -c '.[]')", code="data.too_large")
    return _document(_decoded(whole, number), number)


def _is_object(line: bytes) -> bool:
    try:
        return line.lstrip().startswith(b"{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines(number: int, first: bytes, stream: IO[bytes]) -> Numbered:
    try:
        yield from _object_lines(number, first, enumerate(bounded_lines(stream, number), number + 1))
    except LongLineError as error:
        raise NotRows(str(error), error.number, code="data.line_too_long") from error


def _object_lines(number: int, first: bytes, lines: Iterator[tuple[int, bytes]]) -> Numbered:
    # A whole object on the first line, and nothing behind it: it may be a list inside an object.
    rest = next(((n, line) for n, line in lines if line.strip()), None)
    row = _loaded(_decoded(first, number), number)
    inside = _inside(row) if rest is None else None
    if inside:
        yield from ((number, each) for each in inside[1])
        return
    yield number, row
    if rest:
        yield rest[0], _loaded(_decoded(rest[1], rest[0]), rest[0])
    for n, line in lines:
        if line.strip():
            yield n, _loaded(_decoded(line, n), n)


def _document(text: str, line: int) -> tuple[str, Numbered]:
    at = len(text) - len(text.lstrip(_BLANK))
    if text[at : at + 1] == "[":
        return "JSON array", _values(text, at + 1, line, closing="]")
    row, end = _next(text, at, line)
    if not text[end:].strip(_BLANK):
        inside = _inside(row)
        if inside:
            # Items have no line of their own here: they are numbered.
            return f"JSON, the list in {inside[0]!r}", enumerate(inside[1], 1)
        return "JSON", iter([(line, row)])
    return "pretty-printed JSON", _values(text, at, line, closing="")


def _values(text: str, at: int, line: int, closing: str) -> Numbered:
    """Yield the values of an array behind its bracket, or those that stand one behind the other."""
    seen, first = 0, True
    while True:
        at = _over(text, at, _BLANK)
        if at == len(text) or (closing and text.startswith(closing, at)):
            break
        if closing and not first:
            if text[at] != ",":
                raise NotRows(
                    "invalid JSON: a comma is missing between two rows",
                    line + text.count("\n", 0, at),
                    code="data.invalid_json",
                )
            at = _over(text, at + 1, _BLANK)
        line, seen, first = line + text.count("\n", seen, at), at, False
        row, at = _next(text, at, line)
        yield line, _unwrapped(row)
    if closing and text[at:].strip(_BLANK) != closing:
        raise NotRows(
            "invalid JSON: the array does not end, or something stands behind it", line, code="data.invalid_json"
        )


def _over(text: str, at: int, blanks: str) -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at


def _next(text: str, at: int, line: int) -> tuple[Any, int]:
    try:
        return UNIQUE_KEYS.raw_decode(text, at)
    except json.JSONDecodeError as error:
        here = line + text.count("\n", at, error.pos)
        raise NotRows(f"invalid JSON: {error.msg} (column {error.colno})", here, code="data.invalid_json") from error
    except (ValueError, RecursionError) as error:
        raise NotRows(f"invalid JSON: {error}", line, code="data.invalid_json") from error


def _loaded(text: str, line: int) -> Any:
    try:
        return _unwrapped(UNIQUE_KEYS.decode(text))
    except json.JSONDecodeError as error:
        raise NotRows(f"invalid JSON: {error.msg} (column {error.colno})", line, code="data.invalid_json") from error
    except (ValueError, RecursionError) as error:
        raise NotRows(f"invalid JSON: {error}", line, code="data.invalid_json") from error


def _inside(row: object) -> tuple[str, list[Any]] | None:
    """Return the one list of objects in an object that is no row itself, with its key."""
    if not isinstance(row, Mapping) or any(side in row for pair in SIDES for side in pair):
        return None
    lists = [key for key, value in row.items() if isinstance(value, list) and value and isinstance(value[0], Mapping)]
    if len(lists) != 1:
        return None
    key = lists[0]
    if key in TURNS and {"role", "from"} & row[key][0].keys():
        return None
    return key, [_unwrapped(item) for item in row[key]]


def _unwrapped(item: Any) -> Any:
    """Return the row in an item of the hub's data set server, {"row_idx", "row", …}."""
    return item["row"] if isinstance(item, Mapping) and {"row_idx", "row"} <= item.keys() else item


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8: byte 0x{line[error.start]:02x} (CP949 is read after `iconv -f CP949 -t UTF-8`)"
        raise NotRows(what, number + line[: error.start].count(b"\n"), code="data.not_utf8") from error
