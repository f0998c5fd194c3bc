"""Numbers in Korean text, each with its sign, its unit and its place; the numerals are read by numerals.py."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from alphaf_orch.programs.scoring.grammar import (
    CENTS,
    CURRENCY_BEFORE,
    HANJA,
    MINUS,
    NATIVE,
    OTHER,
    PLAIN,
    UNIT,
    UNIT_WORDS,
    UNITS,
)
from alphaf_orch.programs.scoring.markup import plain
from alphaf_orch.programs.scoring.numerals import FIRST, Numeral, is_spelled, numeral, percent_in_tenths, share
from alphaf_orch.programs.scoring.unit_labels import unit_labels

__all__ = ["OTHER", "PLAIN", "UNITS", "Quantity", "normalised", "quantities"]

BOX = "\x02"  # stands in a normalised text where a \boxed{} began
_WINDOW = 16  # characters before a number in which its sign and its currency may stand
_NATIVE = re.compile(rf"(?<![가-힣])(?P<native>{'|'.join(NATIVE)}) ?(?P<unit>배(?![당율수분치])|번(?!째)|차례(?!로))")
_START = re.compile(rf"{_NATIVE.pattern}|{FIRST.pattern}")
_HALF = re.compile(r" ?반(?=[^가-힣]|$|입|이|으|정|가|을|의)")
_PARTICLE = re.compile(
    r"입니|이다|이며|이고|이므로|이지만|이었|였|인데|인(?![가-힣])|예요|이에요|이라|임(?![가-힣])|정도|수준|가량|남짓|안팎|내외"
    r"|쯤|만큼|(?:으로|로|은|는|이|가|을|를|와|과|의|에|도|만|씩|여|대|나|이나)(?![가-힣])|밖에|까지|부터|보다|에서"
)
_COUNTER = re.compile(
    r"/\d ?분기| (?:개월?|명|건|곳|년|월|분기|위|등급|차|세|시간?|분|호|초|층|대|장|권|가구)(?![가-힣])"
)
# What follows the unit of a spelled amount; 이 일 주식 and the like are no amounts.
_SPELLED_END = re.compile(
    r"(?![가-힣])|[입이은는가을를의으로에와과정씩까부만예인임였보도남안내쯤감하줄모수규어상증적손순여밖]"
)
_LABEL_BEHIND = re.compile(r"단위 ?[:는은]? ?\(?$")

_VULGAR = re.compile(r"(?<!\d)(\d{0,20})([¼½¾⅐-⅞])")
_POWER = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?) ?(?:[×x*·] ?10(?:\^|\*\*)\{?(-?\d{1,2})\}?|e\+?(-?\d{1,2})(?![\w.]))")
# (1,234) as a whole cell, or with its unit behind it, is negative in accounts.
_ACCOUNTS = re.compile(
    r"\((\d[\d,.]*)\)(?= ?(?:[십백천만억조]{0,3} ?(?:원|달러)|%))|(?<=\|)( ?)\((\d[\d,.]*)\)(?= ?\|)"
)


@dataclass(frozen=True)
class Quantity:
    """A number of a text in its unit (3,250억원 is 325000000000 원) and where it stands, sign and prefix included."""

    value: Decimal
    unit: str
    start: int
    end: int
    scaled: bool = False  # scales are part of it, so that a label gives it a unit and no factor


def normalised(text: str) -> str:
    """Return the text with half-width digits and signs, one kind of minus, and no Markdown, HTML or LaTeX marks."""
    text = _VULGAR.sub(lambda part: str(float(part[1] or 0) + unicodedata.numeric(part[2])), text)
    text = re.sub(r"(?<=\d)[⁰¹²³⁴-⁹]+", lambda power: f"^{power[0]}", text)
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/").translate(HANJA)
    text = re.sub(r"[∼〜]", "~", re.sub(r"[−–‐‑﹣]", "-", text))
    text = plain(text, before_boxed=BOX)
    text = re.sub(r"\[\d{1,2}\]", "", _POWER.sub(_powered, text))
    text = re.sub(r"[ \t\u200b]+", " ", re.sub(r"[{}]", "", text))
    text = _ACCOUNTS.sub(lambda found: f"{found[2] or ''}(-){found[1] or found[3]}", text)
    # `1. ` at the start of a line counts lines.
    return re.sub(r"^\s*\d{1,2}[.)]\s+(?=\S)", "", text, flags=re.MULTILINE)


def _powered(found: re.Match[str]) -> str:
    return format(Decimal(found[1]).scaleb(int(found[2] or found[3])), "f")


def quantities(text: str) -> Iterator[Quantity]:
    """Yield the numbers of a normalised text in their order.

    Korean numerals (이천만, 삼십이, 두) count only in front of a unit or with 억 or 만 in them, for 이 and 일 are words
    of their own; a label (`단위: 백만원`) names a unit but no amount.
    """
    end = 0
    labels = unit_labels(text)
    starts = [label.start for label in labels]
    for found in _START.finditer(text):
        start = found.start()
        label = bisect_right(starts, start) - 1
        if start < end or (label >= 0 and start < labels[label].end):
            continue
        quantity = _native(text, found) if found["native"] else _read(text, start)
        if quantity:
            yield quantity
            end = quantity.end


def _native(text: str, found: re.Match[str]) -> Quantity:
    unit = "배" if found["unit"] == "배" else "회"
    return _with_rest(text, Quantity(Decimal(NATIVE[found["native"]]), unit, found.start(), found.end()))


def _read(text: str, start: int) -> Quantity | None:
    before = text[max(0, start - _WINDOW) : start]
    spelled = is_spelled(text, start)
    if spelled and re.search(r"[\w.,]$|(?:몇|수|여) $", before):
        return None
    tenths = percent_in_tenths(text, start)
    if tenths:
        return _signed(Quantity(tenths.value, "%", start, tenths.end), before)
    read = share(text, start) or numeral(text, start)
    unit, end = _unit(text, read.end)
    if spelled and not _believable(text, start, read, unit, end):
        return None
    number = _with_rest(text, Quantity(_value(read, unit), unit, start, end, read.scaled))
    if number.unit == "일" and re.search(r"월 ?$", before):
        number = replace(number, unit=OTHER)
    return _signed(number, before)


def _value(read: Numeral, unit: str) -> Decimal:
    return read.short if read.short is not None and (unit == PLAIN or read.close) else read.value


def _with_rest(text: str, number: Quantity) -> Quantity:
    """Return the number with what its unit goes on with: 2배 반, 1,300원 50전."""
    half = _HALF.match(text, number.end) if number.unit == "배" else None
    if half:
        return replace(number, value=number.value + Decimal("0.5"), end=half.end())
    cents = CENTS[number.unit].match(text, number.end) if number.unit in CENTS else None
    if cents:
        return replace(number, value=number.value + Decimal(cents[1]) / 100, end=cents.end())
    return number


def _signed(number: Quantity, before: str) -> Quantity:
    """Return the number with the sign and the currency in front of it, in either order: -$5.5, $-5.5."""
    value, unit, start = number.value, number.unit, number.start
    minus = MINUS.search(before)
    if minus:
        before, start = before[: minus.start()], start - len(minus[0])
    currency = CURRENCY_BEFORE.search(before)
    if currency:
        before, start = before[: currency.start()], start - len(currency[0])
        if unit in (PLAIN, OTHER):
            unit = OTHER if currency["other"] else "달러" if currency["dollar"] else "원"
        late = None if minus else MINUS.search(before)
        start, minus = (start - len(late[0]), late) if late else (start, minus)
    elif re.search(r"[A-Za-z]$|(?<![가-힣])제 ?$", before):
        unit = OTHER  # M2, 제15조
    return replace(number, value=-value if minus else value, unit=unit, start=start)


def _unit(text: str, end: int) -> tuple[str, int]:
    found = UNIT.match(text, end)
    if found:
        return UNIT_WORDS[int(str(found.lastgroup)[1:])][0], found.end()
    rest = text[end : end + 8]
    attached = re.match(r"[가-힣A-Za-z]", rest) and not _PARTICLE.match(rest)
    return (OTHER if attached or _COUNTER.match(rest) else PLAIN), end


def _believable(text: str, start: int, read: Numeral, unit: str, end: int) -> bool:
    """Whether a numeral in letters is an amount: by its unit, or by 억 or 만 in a longer one without a unit."""
    word = text[start : read.end]
    if not word or unit == OTHER or not _SPELLED_END.match(text, end):
        return False
    if word[0] in "억조경" or (word[0] in "십백천만" and _is_label(text, start, end)):
        return False
    if "분의" in word:
        return True
    if unit == PLAIN:  # 구조 and 이만 are words, 천만 is one too
        return "억" in word or (len(word) >= 3 and re.search("[만조]", word) is not None)
    return unit in ("%", "%p", "bp", "‰", "‱") or any(letter in "십백천만억조경" for letter in word) or "점" in word


def _is_label(text: str, start: int, end: int) -> bool:
    behind = text[end : end + 4]
    return bool(_LABEL_BEHIND.search(text[max(0, start - 8) : start])) or bool(re.match(r" 단위", behind))
