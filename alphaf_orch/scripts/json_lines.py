"""Files of JSON lines that programs append to, and may be killed while they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def cut_half_line(path: Path) -> None:
    """Take away a last line that has no end, which a killed writer left: the next must not be glued to it."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        text = file.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            file.truncate(whole)


def whole_rows(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of the finished lines; half a line, with or without another glued to it, is none."""
    found = []
    for line in text.split("\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found
