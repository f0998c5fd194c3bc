"""Hand-written rows as plain text, so that a finance expert can read and mend them without reading code."""

from __future__ import annotations

from pathlib import Path

Lines = list[tuple[str, str]]


def blocks(name: str, split: str) -> list[Lines]:
    """Return the blocks of one [split] of a source file as lists of (key, text); `#` lines are comments."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    found: dict[str, list[Lines]] = {}
    current = ""
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines and lines[0].startswith("["):
            current = lines.pop(0).strip("[]")
        if lines:
            found.setdefault(current, []).append([(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines])
    return found[split]
