"""What can become of a file: cut, emptied, another kind of value, another kind of thing, or gone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def _gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _in_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def broken(path: Path) -> None:
        _gone(path)
        make(path)

    return broken


def _text(text: str | bytes) -> Callable[[Path], None]:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda path: (path.write_bytes(content), None)[1]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _last_line_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _zeros(path: Path) -> None:
    """What a power cut leaves of a file whose size was kept and whose content was not."""
    path.write_bytes(b"\0" * path.stat().st_size)


def _zeros_inside(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 16] = b"\0" * len(content[middle : middle + 16])
    path.write_bytes(bytes(content))


# Of every file.
EVERY: Mapping[str, Callable[[Path], None]] = {
    "empty": _text(""),
    "cut": _cut,
    "its end cut": _last_line_cut,
    "no UTF-8": _text("금리".encode("cp949") * 20),
    "zeros": _zeros,
    "zeros inside": _zeros_inside,
    "a list": _text("[]\n"),
    "a number": _text("7\n"),
    "null": _text("null\n"),
    "a text": _text('"text"\n'),
    "an empty object": _text("{}\n"),
    "deep": _text("[" * 100_000),
    "a number without end": _text('{"format": ' + "9" * 6000 + "}\n"),
    "gone": _gone,
    "a folder": _in_place(Path.mkdir),
    "a folder with a file": _in_place(lambda path: (path.mkdir(), (path / "x").write_text("x"))),
    "a pipe": _in_place(os.mkfifo),
    "a link to nothing": _in_place(lambda path: path.symlink_to(path.with_name("nothing"))),
    "a link to itself": _in_place(lambda path: path.symlink_to(path.name)),
}


def values(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to every value in a JSON value, of long lists to the first ones."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))[:1]
    return [way for key, each in inner for way in ((*above, key), *values(each, (*above, key)))]


OTHERS: Mapping[str, Any] = {
    "null": None, "list": [], "object": {}, "text": "x", "number": 7, "negative": -1, "large": 10**400,
    "nan": float("nan"),
    "list of lists": [[1]], "true": True, "lacking": ...,
}  # fmt: skip


def replaced(path: Path, way: tuple[str | int, ...], other: Any) -> None:
    """Put another value where a JSON file (or the first line of JSON lines) has one; `...` takes it away."""
    lines = path.suffix == ".jsonl"
    text = path.read_text("utf-8")
    first, rest = text.split("\n", 1) if lines else (text, "")
    value = json.loads(first)
    place = value
    for key in way[:-1]:
        place = place[key]
    if other is ...:
        del place[way[-1]]
    else:
        place[way[-1]] = other
    path.write_text(json.dumps(value, ensure_ascii=False) + (f"\n{rest}" if lines else ""), "utf-8")
