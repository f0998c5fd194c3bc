"""One numeral at a place of a text: 12억 3,400만, 삼십이만, 3억5천, 100여 억, 1/2, 3분의 1, 3할 5푼."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from alphaf_orch.programs.scoring.grammar import BIG, DIGITS, ENGLISH, LETTERS, NAMES, SCALES, SMALL, UNIT

_ALL_SCALES = {**SMALL, **BIG, **ENGLISH, **LETTERS}
NAME = f"[{''.join(NAMES)}]"
LETTER = f"[{''.join(NAMES)}십백천만억조경]"
FIRST = re.compile(rf"{DIGITS}|{LETTER}")

_PIECE = re.compile(
    rf" ?(?:(?P<digits>{DIGITS})|(?P<name>{NAME})|(?P<scale>{SCALES})|(?P<english>{'|'.join(ENGLISH)})s?(?![A-Za-z])"
    r"|(?P<letter>(?<=\d)(?-i:[KMB])(?![A-Za-z0-9])))"
    r"(?P<over> ?여(?= ?(?:[십백천만억조원달불유%배회주일]|퍼|프로)| [가-힣]))?",
    re.IGNORECASE,
)
_POINT = re.compile(rf" ?점 ?(?P<digits>{NAME}(?: ?{NAME})*|\d+)(?= ?(?:%|퍼센|프로|배|bp|[만억조]|포인))")
# 1/2 and 3분의 1; 2024/3/5 is a date, 1/4분기 a quarter.
_SLASH = re.compile(rf"(?<![\d/.])(?P<above>{DIGITS}) ?/ ?(?P<below>{DIGITS})(?!,?\d|/|\.\d)(?P<date> ?분기)?")
_PARTS = re.compile(rf"(?P<below>{DIGITS}|{LETTER}+) ?분의 ?(?P<above>{DIGITS}|{LETTER}+)(?P<date>(?!))?")
_TENTHS = re.compile(
    rf"(?P<tenths>{DIGITS}|{NAME}) ?할(?! ?[인당부머아증애])(?: ?(?P<hundredths>\d|{NAME}) ?푼)?"
    rf"(?: ?(?P<thousandths>\d|{NAME}) ?리(?![가-힣]))?"
)


@dataclass(frozen=True)
class Numeral:
    """A value without sign and unit, the place where it ends, and whether scales (천, 억) are part of it."""

    value: Decimal
    end: int
    scaled: bool = False
    short: Decimal | None = None  # 3억5천 as 3억 5천만: its value if no unit follows
    close: bool = False  # written as 3억5천, without a space: short with a unit too


def is_spelled(text: str, start: int) -> bool:
    """Return whether the numeral at a place begins with a syllable, not with a digit."""
    return not (text[start].isdigit() or text[start] == ".")


def share(text: str, start: int) -> Numeral | None:
    """Return a fraction (1/2, 3분의 1) at a place, None where there is none or it divides by zero."""
    found = _SLASH.match(text, start) or _PARTS.match(text, start)
    if not found or found["date"]:
        return None
    above, below = (numeral(found[name], 0).value for name in ("above", "below"))
    return Numeral(above / below, found.end()) if below else None


def percent_in_tenths(text: str, start: int) -> Numeral | None:
    """Return the percentage that 할, 푼 and 리 name (3할 5푼 is 35), None where there is none."""
    found = _TENTHS.match(text, start)
    if not found:
        return None
    tenths, hundredths, thousandths = (_digits(found[name] or "0") for name in ("tenths", "hundredths", "thousandths"))
    return Numeral(tenths * 10 + hundredths + thousandths / 10, found.end())


def numeral(text: str, start: int) -> Numeral:
    """Return the numeral that begins at a place: scales fall from 조 to 만 and from 천 to 십."""
    reader = _Reader(text, start)
    while reader.take():
        pass
    return reader.numeral()


def _digits(text: str) -> Decimal:
    return Decimal(NAMES[text] if text in NAMES else text.replace(",", ""))


class _Reader:
    """A numeral as far as it is read: closed sections of 만, 억, 조, the open one, and digits without their scale."""

    def __init__(self, text: str, start: int) -> None:
        self.text, self.start, self.place, self.end = text, start, start, start
        self.spelled = is_spelled(text, start)
        self.total = self.section = Decimal(0)
        self.pending: Decimal | None = None
        self.big, self.small = 10**20, 10**4  # the scales that have to be fallen below
        self.close = False

    def take(self) -> bool:
        """Read one more piece; False where the numeral has ended."""
        found = _PIECE.match(self.text, self.place)
        if not found:
            return False
        scale = _ALL_SCALES.get(found["scale"] or (found["english"] or "").casefold() or found["letter"] or "")
        goes_on = self._number(found) if scale is None else self._scale(found, scale)
        if goes_on:
            self.place = found.end()
        return goes_on

    def _number(self, found: re.Match[str]) -> bool:
        number = _digits(found["digits"] or found["name"])
        # 5만이 is 5만 with a particle and 5만 20,000 two numbers; 12억 삼천만 goes on.
        particle = found["name"] and not self.spelled and not re.match(r"[십백천만억조]", self.text[found.end() :][:1])
        too_big = self.end > self.start and number >= min(self.big, self.small)
        if self.pending is not None or particle or too_big:
            return False
        self.close = self.close and not found[0].startswith(" ")
        self.pending = number
        return True

    def _scale(self, found: re.Match[str], scale: int) -> bool:
        small = found["scale"] in SMALL
        if self._begins_a_word(found):
            return False
        if scale >= (self.small if small else self.big):
            # 2억 30억: the 30 is part of the next amount.
            self.pending = None if self.end > self.start else self.pending
            return False
        if small:
            self.section += (1 if self.pending is None else self.pending) * scale
            self.small = scale
        else:
            self.total += (self.section + (self.pending or 0) or 1) * scale
            self.section, self.big, self.small, self.close = Decimal(0), scale, 10**4, True
        self.pending, self.end = None, found.end()
        return True

    def _begins_a_word(self, found: re.Match[str]) -> bool:
        """Whether a scale behind a space begins a word of its own: no unit, digit or scale follows it."""
        if self.place == self.start or not found[0].startswith(" "):
            return False
        rest = self.text[found.end() : found.end() + 8]
        return bool(re.match(r"[가-힣]", rest)) and not (UNIT.match(rest) or FIRST.match(rest))

    def numeral(self) -> Numeral:
        """Return what was read, with the decimals behind 점: 영점 오, 십이점 삼사."""
        if self.pending is None:
            whole, end = self.total + self.section, self.end
        else:
            whole, end = self.total + self.section + self.pending, self.place
        scaled = self.end > self.start
        point = _POINT.match(self.text, end)
        if point:
            digits = "".join(str(NAMES.get(letter, letter)) for letter in point["digits"] if letter != " ")
            return Numeral(whole + Decimal(f"0.{digits}"), point.end(), scaled)
        return Numeral(whole, end, scaled, self._short(), self.close and self.pending is None and not self.spelled)

    def _short(self) -> Decimal | None:
        """The value if what follows 억 or 조 counts the next lower 만: 3억5천, 2조 3천, 3억5000."""
        rest = self.section + (self.pending or 0)
        if not (self.total and rest and 10**8 <= self.big < 10**20):
            return None
        if self.pending is not None and (not self.close or self.pending < 1000 or self.section):
            return None
        return self.total + rest * self.big / 10**4
