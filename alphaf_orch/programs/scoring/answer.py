"""The one number that an answer ends on, and whether it is the right one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from alphaf_orch.programs.scoring.numbers import PLAIN, UNITS, Quantity, normalised, quantities
from alphaf_orch.programs.scoring.text import cleaned

# How many of the asked unit one of another is; every unit not named here stands for itself alone.
_CONVERTED = {"%p": {"%p": Decimal(1), "bp": Decimal("0.01")}, "bp": {"bp": Decimal(1), "%p": Decimal(100)}}
_NO_PLAIN_NUMBER = ("원", "달러", "%", "%p", "bp")

_ANSWER = re.compile(r"(?:정답|최종\s?답(?:변|안)?|(?<![가-힣])(?:해)?답(?:변|안)?)\s*(?:은|는|:|=)|정답\s")
_THEREFORE = re.compile(r"따라서|그러므로|결론적으로|결국")
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+")
_REMARK = re.compile(r"\((?!-\))[^()]*\)")
_RESULT_BEFORE = re.compile(r"[=≈≒:→]\s*(?:약|대략)?\s*$")
_RESULT_AFTER = re.compile(
    r"\s*(?:정도|가량|수준)?\s*(?:입니다|이다|이며|이고|예요|이에요|임(?![가-힣])|[이가]\s?(?:됩니다|된다|나옵니다|나온다))"
)
# A number that is compared with, taken from or calculated with is not what the sentence says.
_NO_RESULT = re.compile(
    r"\s*(?:보다|이상|이하|초과|미만|대비|에서|에\s|에\s?비해|의\s|중(?![가-힣])|가운데|[×÷*/+=≈≒]|[x-]\s)"
)
_FALLS_AFTER = re.compile(
    r"\s*[이가를을]?\s*(?:만큼\s?)?(?:감소|하락|축소|악화|급감|적자|손실|줄|내리|내려|내렸|내린|떨어|낮아)"
)
_LOSS_BEFORE = re.compile(r"(?:적자|손실)(?:액|률|규모)?(?:은|는|이|가)?\s*(?:약|대략)?\s*$")


def exact_numeric(answer: str, value: float, unit: str, tolerance: float) -> int:
    """Return 1 if the final number of the answer, in the asked unit, is within the tolerance of the right one.

    Where the right value is negative, "3% 감소" and "손실 30억원" are read as negative too; where it is positive
    only the number counts.
    """
    found = final_number(answer, unit)
    if found is None:
        return 0
    given, falls = found
    gold = Decimal(str(value))
    if gold < 0 < given and falls:
        given = -given
    return int(abs(given - gold) <= Decimal(str(tolerance)))


def final_number(answer: str, unit: str) -> tuple[Decimal, bool] | None:
    """Return the answer's one final number, in the asked unit, and whether words say that it falls or is a loss.

    Looked at, until a number in the asked unit (or one that converts to it) is found: the first sentence behind the
    last 정답 or 답; the first sentence behind the last 따라서, 그러므로, 결론적으로 or 결국; the whole answer. Inside,
    remarks in parentheses and numbers that are only compared or calculated with step back; a number behind "=" or
    ":" or before 입니다 is preferred, and of these the last one is taken. Without any, it is the first behind 정답
    and else the last. Where no number at all is in the asked unit, the number chosen the same way among all of them
    counts if it has no unit. Raises ValueError for a unit that no task may ask for.
    """
    if unit not in (*UNITS, PLAIN):
        raise ValueError(f"no known unit: {unit!r}; use one of {', '.join(UNITS)} or an empty text")
    text = normalised(cleaned(answer))
    numbers = list(quantities(text))
    factors = _CONVERTED.get(unit, {unit: Decimal(1)})
    chosen = _final(text, [number for number in numbers if number.unit in factors])
    if chosen is None:
        chosen = _final(text, numbers)
        # 배, 회 and counts are plain numbers to a question that asks for no unit; money and percentages are not.
        fits = chosen and (chosen.unit == PLAIN or (unit == PLAIN and chosen.unit not in _NO_PLAIN_NUMBER))
        if chosen is None or not fits:
            return None
    falls = _FALLS_AFTER.match(text, chosen.end) or _LOSS_BEFORE.search(text[: chosen.start])
    return chosen.value * factors.get(chosen.unit, Decimal(1)), bool(falls)


def _final(text: str, numbers: Sequence[Quantity]) -> Quantity | None:
    for marker in (_ANSWER, _THEREFORE):
        begins = [found.end() for found in marker.finditer(text)]
        behind = [number for number in numbers if begins and number.start >= begins[-1]]
        if behind:
            ends = [found.start() for found in _SENTENCE_END.finditer(text, behind[0].end)]
            end = ends[0] if ends else len(text)
            return _pick(text, [number for number in behind if number.end <= end], first=marker is _ANSWER)
    return _pick(text, numbers, first=False) if numbers else None


def _pick(text: str, numbers: Sequence[Quantity], *, first: bool) -> Quantity:
    remarks = [found.span() for found in _REMARK.finditer(text)]
    outside = [number for number in numbers if not any(a <= number.start < b for a, b in remarks)] or numbers
    said = [number for number in outside if not _NO_RESULT.match(text, number.end)] or outside
    results = [
        number
        for number in said
        if _RESULT_AFTER.match(text, number.end)
        or _RESULT_BEFORE.search(text[max(0, number.start - 12) : number.start])
    ]
    return results[-1] if results else said[0 if first else -1]
