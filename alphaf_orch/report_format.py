"""Figures as people read them, and places without a user's folders."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.paths import PACKAGE, RunPaths
from alphaf_orch.progress import clock

NONE = "–"
_ABSOLUTE = re.compile(r"(?<![\w.…~/:])/(?:[^\s/'\"`,:;()\[\]{}]+/)+[^\s'\"`,:;()\[\]{}]*")


def number(value: Any, digits: int = 4) -> str:
    """Return a number with its significant digits; a dash where there is none."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return NONE
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e12):
        return f"{int(value):,}"
    if 0 < abs(value) < 1e-3 or abs(value) >= 1e6:
        return f"{value:.{digits - 1}g}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{digits}f}%"


def signed(value: float, *, share: bool) -> str:
    """Return a difference with its sign: points of a percentage, or a number. Rounded to zero, it has none."""
    text = f"{100 * abs(value):.1f}" if share else f"{abs(value):.2f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "−") + text


def p_value(p: float) -> str:
    """Return p in three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: Any) -> str:
    """Return seconds as m:ss."""
    return clock(seconds) if isinstance(seconds, int | float) else NONE


def mebibytes(value: Any) -> str:
    """Return MiB as GiB with one decimal."""
    return f"{value / 1024:.1f} GiB" if isinstance(value, int | float) and value else NONE


def moment(iso: Any) -> str:
    """Return an ISO time to the minute."""
    text = str(iso or "")
    return (
        f"{text[:10]} {text[11:16]} UTC" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*\+00:00", text) else text or NONE
    )


def clip(text: str, limit: int = 4000) -> str:
    """Return the text, cut in its middle where it is longer than `limit`: the question stands at the end."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} …]\n{text[-half:]}"


def hide(text: Any, paths: RunPaths) -> str:
    """Return the text with paths relative to the run and no folder of this or another user, nor this host's name."""
    shown = str(text)
    for folder, name in ((paths.root, "."), (PACKAGE, "alphaf_orch"), (Path.home(), "~")):
        shown = re.sub(re.escape(str(folder)) + r"(?![\w-])", name, shown)
    shown = re.sub(r"(?<!\w)\./(?=\S)", "", shown)
    shown = _ABSOLUTE.sub(lambda found: "…/" + found[0].rstrip("/").rpartition("/")[2], shown)
    host = platform.node()
    return re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "host", shown) if len(host) > 1 else shown


def place(path: Any, paths: RunPaths) -> str:
    """Return a path as it is shown: inside the run from its root on, elsewhere the last part, a hub id whole."""
    text = str(path)
    if not Path(text).is_absolute():
        return text if not text.startswith("~") else f"…/{Path(text).name}"
    inside = Path(text).is_relative_to(paths.root)
    return str(Path(text).relative_to(paths.root)) if inside else f"…/{Path(text).name}"


def command(argv: Sequence[str], paths: RunPaths) -> str:
    """Return a command with every path shortened as `place` does it."""
    import shlex

    def short(word: str) -> str:
        option, equals, value = word.partition("=")
        if equals and value.startswith("/"):
            return f"{option}={place(value, paths)}"
        return place(word, paths) if word.startswith("/") else hide(word, paths)

    return " ".join(word if word.startswith("…/") else shlex.quote(word) for word in map(short, argv))
