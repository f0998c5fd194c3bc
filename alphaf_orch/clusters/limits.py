"""Time limits as Slurm writes them, which profiles for every scheduler do."""

from __future__ import annotations

import re

# sbatch(1), --time: minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s; or none.
_TIME = re.compile(r"(?:(\d+)-(\d+)(?::(\d+)(?::(\d+))?)?|(\d+)(?::(\d+)(?::(\d+))?)?)$")
_NO_LIMIT = ("unlimited", "infinite")


def seconds(time: str) -> int | None:
    """Return a time limit as Slurm reads it; None for no limit. Raises ValueError for what is none."""
    if time.lower() in (*_NO_LIMIT, "0"):
        return None
    found = _TIME.match(time)
    if not found:
        raise ValueError(time)
    days, hours, minutes, secs, first, second, third = (int(part or 0) for part in found.groups())
    if found[1]:
        return ((days * 24 + hours) * 60 + minutes) * 60 + secs
    if found[7]:
        return (first * 60 + second) * 60 + third
    return first * 60 + second
