"""Figures as people read them, and places without a user's folders."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from alphaf_orch.core.disk import size
from alphaf_orch.core.progress import clock
from alphaf_orch.core.values import finite

NONE = "–"


def number(value: Any, digits: int = 4) -> str:
    """Return a number with its significant digits; a dash where there is none."""
    if not finite(value):
        return NONE
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e12):
        return f"{int(value):,}"
    if 0 < abs(value) < 1e-3 or abs(value) >= 1e6:
        return f"{value:.{digits - 1}g}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{digits}f}%"


def signed(value: float, *, share: bool, more: int = 0) -> str:
    """Return a difference with its sign: points of a percentage, or a number. Rounded to zero, it has none.

    `more` digits than the usual ones.
    """
    text = f"{100 * abs(value):.{1 + more}f}" if share else f"{abs(value):.{2 + more}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "−") + text


def ends(low: float, high: float, show: Callable[[float, int], str]) -> str:
    """Return an interval as text, with as many more digits as it takes to tell its ends apart, at most three."""
    texts = [(show(low, more), show(high, more)) for more in range(4)]
    first, second = next((pair for pair in texts if pair[0] != pair[1]), texts[0])
    return f"[{first}, {second}]"


def p_value(p: float | None) -> str:
    """Return p in three decimals; a dash where nothing was tested."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: Any) -> str:
    """Return seconds as m:ss."""
    return clock(seconds) if isinstance(seconds, int | float) else NONE


def mebibytes(value: Any) -> str:
    """Return MiB as people write bytes."""
    return size(value * 2**20) if isinstance(value, int | float) and value else NONE


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
