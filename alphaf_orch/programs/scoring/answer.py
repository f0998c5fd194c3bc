"""The one number that an answer ends on, and whether it is the right one."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from alphaf_orch.programs.scoring.direction import falls, rises
from alphaf_orch.programs.scoring.grammar import APPROXIMATE, CONVERTED, PLAIN, UNITS
from alphaf_orch.programs.scoring.labelled import with_labels
from alphaf_orch.programs.scoring.numbers import BOX, Quantity, normalised, quantities
from alphaf_orch.programs.scoring.text import cleaned

_NO_PLAIN_NUMBER = ("원", "달러", "%", "%p", "bp", "‰", "‱")

_ANSWER = re.compile(r"(?:정답|최종\s?답(?:변|안)?|(?<![가-힣])(?:해)?답(?:변|안)?)\s*(?:은|는|:|=)|정답\s")
_BOX = re.compile(BOX)
_THEREFORE = re.compile(r"따라서|그러므로|결론적으로|결국")
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+")
_BOX_END = re.compile(r"(?<=[.!?。])\s+|\n+|, |(?:이며|이고|이지만|인데|으?로) ")
_REMARK = re.compile(r"\((?!-\))[^()]*\)")
_RESULT_BEFORE = re.compile(r"[=≈≒:→]\s*(?:약|대략)?\s*$")
_RESULT_AFTER = re.compile(
    rf"\s*(?:{APPROXIMATE} ?){{0,2}}+(?:입니다|이다|이며|이고|예요|이에요"
    rf"|임(?![가-힣])|[이가]\s?(?:됩니다|된다|나옵니다|나온다))"
)
# A number that is compared with, taken from or calculated with is not what the sentence says.
_NO_RESULT = re.compile(
    r"\s*(?:보다|이상|이하|초과|미만|대비|에서|에\s|에\s?비해|대(?![가-힣])"
    r"|의\s(?![가-힣 ]{0,8}(?:손실|적자|손해|이익|흑자|감소|하락|증가|상승|부족|순유출|순유입))"
    r"|중(?![가-힣])|가운데|[×÷*/+=≈≒]|[x-]\s)"
)
# 100억원이 아니라 120억원, 100억원은 오답, 100억원이라고 생각했지만 120억원.
_DENIED = re.compile(
    r"\s*(?:(?:[이가은는도] ?)?(?:정답[이은는도]? ?)?아(?:니(?!면)|닌|닙|닐)|[은는이가도] ?(?:오답|틀[린렸]|잘못)"
    r"|(?:이?라고|으?로) ?(?:처음에 ?)?(?:잘못|착각|생각했|보았|봤)|인 ?줄)"
)
_RANGE = re.compile(r" ?~ ?|-")
_BETWEEN = re.compile(r"(?:에서|부터|과|와) ")
_BETWEEN_END = re.compile(r" ?(?:사이|의 범위)")
_ACCOUNTS_BEFORE = re.compile(r"[:=|] ?\($")


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
    r"""Return the answer's one final number, in the asked unit, and whether words say that it falls or is a loss.

    Looked at, until a number in the asked unit (or one that converts to it) is found: the last \boxed{}; the first
    sentence behind the last 정답 or 답; the first sentence behind the last 따라서, 그러므로, 결론적으로 or 결국; the
    whole answer. A number that is denied (100억원이 아니라) and the ends of a range (3~5억원) are none. Inside,
    remarks in parentheses and numbers that are only compared or calculated with step back; a number behind "=" or
    ":" or before 입니다 is preferred, and of these the last one is taken. Without any, it is the first behind 정답
    and else the last. Where no number at all is in the asked unit, the number chosen the same way among all of them
    counts if it has no unit. Raises ValueError for a unit that no task may ask for.
    """
    if unit not in (*UNITS, PLAIN):
        raise ValueError(f"no known unit: {unit!r}; use one of {', '.join(UNITS)} or an empty text")
    text = normalised(cleaned(answer))
    factors = CONVERTED.get(unit, {unit: Decimal(1)})
    numbers = _single(text, _affirmed(text, with_labels(text, list(quantities(text)), factors)))
    chosen = _final(text, [number for number in numbers if number.unit in factors])
    if chosen is None:
        chosen = _final(text, numbers)
        # 배, 회 and counts are plain numbers to a question that asks for no unit; money and percentages are not.
        fits = chosen and (chosen.unit == PLAIN or (unit == PLAIN and chosen.unit not in _NO_PLAIN_NUMBER))
        if chosen is None or not fits:
            return None
    if text[chosen.start] in "△▲" and rises(text, chosen.end):
        chosen = replace(chosen, value=-chosen.value)
    return chosen.value * factors.get(chosen.unit, Decimal(1)), _is_negative(text, chosen)


def _is_negative(text: str, number: Quantity) -> bool:
    """Whether words, or the accounts' parentheses as in `영업이익: (1,234)`, make a number negative."""
    in_accounts = text[number.end : number.end + 1] == ")" and _ACCOUNTS_BEFORE.search(
        text[max(0, number.start - 3) : number.start]
    )
    return bool(in_accounts) or falls(text, number.start, number.end)


def _affirmed(text: str, numbers: Sequence[Quantity]) -> list[Quantity]:
    return [number for number in numbers if not _DENIED.match(text, number.end)]


def _single(text: str, numbers: Sequence[Quantity]) -> list[Quantity]:
    """Return the numbers that are no end of a range: 3~5억원 and `3%에서 5% 사이` state no figure."""
    ends: set[int] = set()
    for first, second in pairwise(numbers):
        between = text[first.end : second.start]
        if _RANGE.fullmatch(between) or (_BETWEEN.fullmatch(between) and _BETWEEN_END.match(text, second.end)):
            ends.update((first.start, second.start))
    return [number for number in numbers if number.start not in ends]


def _final(text: str, numbers: Sequence[Quantity]) -> Quantity | None:
    for marker in (_BOX, _ANSWER, _THEREFORE):
        begins = [found.end() for found in marker.finditer(text)]
        behind = [number for number in numbers if begins and number.start >= begins[-1]]
        if behind:
            ends = (_BOX_END if marker is _BOX else _SENTENCE_END).search(text, behind[0].end)
            end = ends.start() if ends else len(text)
            return _pick(text, [number for number in behind if number.end <= end], first=marker is not _THEREFORE)
    return _pick(text, numbers, first=False) if numbers else None


def _pick(text: str, numbers: Sequence[Quantity], *, first: bool) -> Quantity:
    remarks = [found.span() for found in _REMARK.finditer(text)]
    starts = [start for start, _ in remarks]

    def in_remark(number: Quantity) -> bool:
        place = bisect_right(starts, number.start - 1) - 1
        return place >= 0 and number.start < remarks[place][1]

    outside = [number for number in numbers if not in_remark(number)] or numbers
    said = [number for number in outside if not _NO_RESULT.match(text, number.end)] or outside
    results = [
        number
        for number in said
        if _RESULT_AFTER.match(text, number.end)
        or _RESULT_BEFORE.search(text[max(0, number.start - 12) : number.start])
    ]
    return results[-1] if results else said[0 if first else -1]
