"""The time before a line that nobody watches as it comes: in a pipe, a file, a scheduler's output."""

from __future__ import annotations

import re
from datetime import datetime

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ")


def stamped(text: str) -> str:
    """Return the line behind the local time, ISO 8601 to the second with its zone."""
    return f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}"


def unstamped(line: str) -> str:
    """Return the line without such a time, where it begins with one."""
    found = _STAMP.match(line)
    return line[found.end() :] if found else line
