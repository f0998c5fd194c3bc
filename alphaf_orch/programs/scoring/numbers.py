"""Numbers in Korean text: digits, 조/억/만/천 compounds and Korean numerals, each with its sign and unit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

PLAIN = ""  # a number with no unit at all
OTHER = "?"  # a number that counts something no task asks for: 3년, 5개, 2024년
UNITS = ("원", "달러", "%p", "%", "bp", "배", "회", "주", "일")

_DIGITS = r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?"
_NAMES = dict(zip("영공일이삼사오육칠팔구", (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_NATIVE = {"두": 2, "세": 3, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10}
_SMALL = {"십": 10, "백": 100, "천": 1000}
_BIG = {"만": 10**4, "억": 10**8, "조": 10**12, "경": 10**16}
# 3 만기, 2 조건 and the like are words, not scales.
_PIECE = re.compile(
    rf"\s?(?:(?P<digits>{_DIGITS})|(?P<name>[{''.join(_NAMES)}])|(?P<scale>십|백(?!분)|천(?!연|천)"
    r"|만(?!기|큼|일|약)|억|조(?!건|항|정|합|사|치|기|금|세|달)|경(?!우|기|제|영|과)))"
)
_FIRST = re.compile(rf"{_DIGITS}|[{''.join(_NAMES)}십백천만억조경]")
_NATIVE_TIMES = re.compile(rf"(?<![가-힣])(?P<native>{'|'.join(_NATIVE)})\s?배(?![당율수분치])")
_POINT = re.compile(rf"점([{''.join(_NAMES)}]+)")

_UNIT = re.compile(
    r"""\s?(?:
      (?P<pp>%\s?p(?![a-z])|(?:%|퍼센트|프로)\s?포인트|pp(?![a-z])|percentage\s+points?)
    | (?P<percent>%|퍼센트|프로(?!젝|그|필|세|모|토)|percent)
    | (?P<bp>bps?(?![a-z])|베이시스\s?포인트)
    | (?P<won>원(?!칙|금)|KRW|won(?![a-z]))
    | (?P<dollar>(?:미국?\s?)?달러|USD|dollars?)
    | (?P<times>배(?!당|율|수|분|치)|(?<=\d)x(?![a-z0-9])(?!\s*\d))
    | (?P<count>회(?!사|차|계|장|원)|번(?!째|호))
    | (?P<shares>주(?!년|간|일|차|택|요|당))
    | (?P<days>일(?!반|정|부|시|본|차|자))
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_UNIT_NAMES = {"pp": "%p", "percent": "%", "bp": "bp", "won": "원", "dollar": "달러"} | {
    "times": "배",
    "count": "회",
    "shares": "주",
    "days": "일",
}
_PREFIX = re.compile(r"(?:US\$|[$₩]|USD\s?|KRW\s?)$", re.IGNORECASE)
# A hyphen behind a letter, digit or bracket joins or subtracts; a triangle before an amount is the accounts' minus.
_MINUS = re.compile(r"(?:(?<![\w%)\]])-|\(-\)\s?|마이너스\s?|[△▲▼]\s?)$")
_PARTICLE = re.compile(
    r"입니다|이다|이며|이고|이므로|예요|이에요|이라|임(?![가-힣])|정도|수준|가량|(?:으로|로|은|는|이|가|을|를|와|과|의)(?![가-힣])"
)
_COUNTER = re.compile(r"\s(?:개월?|명|건|곳|년|월|분기|위|등급|차|세|시간?|분|호|초|층|대|장|권|가구)(?![가-힣])")
_SPELLED_END = re.compile(r"(?![가-힣])|입|이|은|는|가|을|를|의|으|로|에|와|과|정|씩|까|부|만|예|인|임")


@dataclass(frozen=True)
class Quantity:
    """A number of a text in its unit (3,250억원 is 325000000000 원) and where it stands, sign and prefix included."""

    value: Decimal
    unit: str
    start: int
    end: int


def normalised(text: str) -> str:
    """Return the text with half-width digits and signs, one kind of minus, and no Markdown or LaTeX marks."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"[−–‐‑﹣]", "-", text)
    text = re.sub(r"\*\*|__|`|\\(?:text|boxed|mathrm|left|right)?|\[\d{1,2}\]", "", text)
    # `1. ` at the start of a line counts lines.
    return re.sub(r"^\s*\d{1,2}[.)]\s+(?=\S)", "", text, flags=re.MULTILINE)


def quantities(text: str) -> Iterator[Quantity]:
    """Yield the numbers of a normalised text in their order.

    Korean numerals (이천만, 삼십이, 두) count only in front of a unit, for 이 and 일 are words of their own, and
    `단위: 백만원` names a unit but no amount.
    """
    end = 0
    for found in re.finditer(rf"{_NATIVE_TIMES.pattern}|{_FIRST.pattern}", text):
        start = found.start()
        if start < end:
            continue
        if found["native"]:
            quantity: Quantity | None = Quantity(Decimal(_NATIVE[found["native"]]), "배", start, found.end())
        else:
            quantity = _read(text, start)
        if quantity:
            yield quantity
            end = quantity.end


def _read(text: str, start: int) -> Quantity | None:
    before = text[max(0, start - 12) : start]
    spelled = not text[start].isdigit()
    if spelled and (re.search(r"[\w.,]$|(?:몇|수)\s$", before)):
        return None
    value, end = _amount(text, start)
    name, unit_end = _unit(text, end)
    if spelled and not _believable(text, start, end, unit_end, name):
        return None
    prefix = _PREFIX.search(before)
    if prefix:
        before = before[: prefix.start()]
        start -= len(prefix[0])
        if name in (PLAIN, OTHER):
            name = "원" if prefix[0][0] in "₩Kk" else "달러"
    elif re.search(r"[A-Za-z]$|(?<![가-힣])제\s?$", before):
        name = OTHER  # M2, 제15조
    if name == "일" and re.search(r"월\s?$", before):
        name = OTHER
    minus = _MINUS.search(before)
    return Quantity(-value if minus else value, name, start - len(minus[0]) if minus else start, unit_end)


def _amount(text: str, start: int) -> tuple[Decimal, int]:
    """Return the value of the numeral at a place, and its end: scales fall from 조 to 만 and from 천 to 십."""
    spelled = not text[start].isdigit()
    total = section = value = Decimal(0)
    pending: Decimal | None = None  # a number whose scale is not read yet
    big_bound, small_bound = 10**20, 10**4
    place = end = start
    while found := _PIECE.match(text, place):
        scale = {**_SMALL, **_BIG}.get(found["scale"] or "")
        if scale is None:
            number = Decimal((found["digits"] or "0").replace(",", "")) or Decimal(_NAMES.get(found["name"], 0))
            # 5만이 is 5만 with a particle, 5만 20,000 two numbers.
            strange = bool(found["name"]) and not spelled
            if pending is not None or strange or (end > start and number >= min(big_bound, small_bound)):
                break
            pending = number
        elif _is_word(text, found, place > start):
            break
        elif scale >= (big_bound if found["scale"] in _BIG else small_bound):
            pending = None if end > start else pending  # 2억 30억: the 30 is part of the next amount
            break
        elif scale < 10**4:
            section += (1 if pending is None else pending) * scale
            pending, small_bound, value, end = None, scale, total + section, found.end()
        else:
            total += (section + (pending or 0) or 1) * scale
            section, pending, big_bound, small_bound = Decimal(0), None, scale, 10**4
            value, end = total, found.end()
        place = found.end()
    if pending is None:
        return value, end
    point = _POINT.match(text, place)
    if point and spelled:
        return value + pending + Decimal("0." + "".join(str(_NAMES[name]) for name in point[1])), point.end()
    return value + pending, place


def _is_word(text: str, found: re.Match[str], inside: bool) -> bool:
    """Whether a scale behind a space begins a word of its own: no unit, digit or scale follows it."""
    if not (inside and found[0][0].isspace()):
        return False
    rest = text[found.end() :]
    return bool(re.match(r"[가-힣]", rest)) and not (_UNIT.match(rest) or _FIRST.match(rest))


def _unit(text: str, end: int) -> tuple[str, int]:
    found = _UNIT.match(text, end)
    if found:
        return _UNIT_NAMES[str(found.lastgroup)], found.end()
    rest = text[end:]
    attached = re.match(r"[가-힣A-Za-z]", rest) and not _PARTICLE.match(rest)
    return (OTHER if attached or _COUNTER.match(rest) else PLAIN), end


def _believable(text: str, start: int, end: int, unit_end: int, name: str) -> bool:
    """Whether a numeral in letters is an amount: a unit follows, and one letter is enough only for percentages."""
    if name in (PLAIN, OTHER) or not _SPELLED_END.match(text, unit_end):
        return False
    word = text[start:end]
    if word[0] in "십백천만억조경" and (
        re.search(r"단위\s?[:는은]?\s?\(?$", text[:start]) or re.match(r"\s단위", text[unit_end:])
    ):
        return False
    return name in ("%", "%p", "bp") or any(letter in "십백천만억조경" for letter in word)
