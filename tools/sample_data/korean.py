"""Korean text rules: the particle that fits a word or number, and amounts written with 조, 억, 만, % and 배."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from random import Random
from typing import TypeVar

T = TypeVar("T")
_AFTER_CONSONANT = {"은": "는", "이": "가", "을": "를", "과": "와", "으로": "로"}
# Index of the final consonant as Unicode counts it: 0 none, 8 ㄹ. Digits and letters as they are read aloud.
_RIEUL = 8
_FINALS = dict(zip("0123456789", (21, 8, 0, 16, 0, 0, 1, 8, 8, 0), strict=True)) | {"L": 8, "M": 16, "N": 4, "R": 8}
_READ_AS_WORD = {"KOFR": 0}
_CLOSING = re.compile(r"(\([^()]*\)|['\"’”」])+$")
_PLACE_NAMES = ("첫째", "둘째", "셋째", "넷째", "다섯째")


def final_consonant(word: str) -> int:
    """Return the final consonant (0 none, 8 ㄹ) with which a word, number, unit or abbreviation is read aloud."""
    bare = _CLOSING.sub("", word)
    for name, final in _READ_AS_WORD.items():
        if bare.endswith(name):
            return final
    last = bare[-1]
    if "가" <= last <= "힣":
        return (ord(last) - ord("가")) % 28
    return _FINALS.get(last.upper(), 0)


def with_particle(word: str, particle: str) -> str:
    """Return word plus the fitting form of a particle, named by its form after a consonant (은, 이, 을, 과, 으로)."""
    final = final_consonant(word)
    vowel_form = final == 0 or (particle == "으로" and final == _RIEUL)
    return word + (_AFTER_CONSONANT[particle] if vowel_form else particle)


class Word(str):
    """A string whose format spec is a particle: f"{Word('ROE'):은}" is 'ROE는'."""

    def __format__(self, spec: str) -> str:
        return with_particle(str(self), spec) if spec else str(self)


def plain(value: Decimal | int, places: int = 2) -> str:
    """Return a number with thousands commas, rounded half up to places, without trailing zeros."""
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def won(amount: int) -> Word:
    """Return an amount of won: in 조/억/만 where it is a whole number of 만원, else in digits."""
    if amount == 0 or amount % 10_000:
        return Word(f"{amount:,}원")
    ten_thousands = amount // 10_000
    parts = ((ten_thousands // 10**8, "조"), (ten_thousands // 10**4 % 10**4, "억"), (ten_thousands % 10**4, "만"))
    return Word(" ".join(f"{count:,}{unit}" for count, unit in parts if count) + "원")


def percent(value: Decimal | int | str) -> Word:
    """Return a percentage with at most two decimals."""
    return Word(f"{plain(Decimal(value))}%")


@dataclass(frozen=True)
class Figure:
    """A computed value with its unit; 원 is cut to whole won, everything else rounded half up to places."""

    exact: Decimal
    unit: str
    places: int = 2

    @property
    def value(self) -> Decimal:
        """The value as shown."""
        if self.unit == "원":
            return self.exact.quantize(Decimal(1), ROUND_DOWN)
        return self.exact.quantize(Decimal(1).scaleb(-self.places), ROUND_HALF_UP)

    @property
    def text(self) -> Word:
        """The value as written in Korean."""
        return won(int(self.value)) if self.unit == "원" else Word(plain(self.value, self.places) + self.unit)

    @property
    def result(self) -> str:
        """The end of a calculation with {answer} for the value, saying how it was rounded where it was."""
        if self.value == self.exact:
            return "{answer}입니다"
        if self.unit == "원":
            return "약 {answer}입니다(원 미만 버림)"
        return f"약 {{answer}}입니다(소수점 {_PLACE_NAMES[self.places]} 자리에서 반올림)"

    @property
    def english(self) -> str:
        """The value as an English answer would write it."""
        names = {"%": "%", "%p": " percentage points", "배": " times", "회": " turns", "년": " years"}
        if self.unit == "원":
            return f"KRW {int(self.value):,}"
        return plain(self.value, self.places) + names.get(self.unit, "")


@dataclass(frozen=True)
class Problem:
    """A question with one computed answer, its reply (holding {answer}), a plausible wrong answer, and English."""

    topic: str
    question: str
    reply: str
    answer: str
    wrong: str
    english: str

    @property
    def good(self) -> str:
        """The reply with the right value."""
        return self.reply.replace("{answer}", self.answer)

    @property
    def bad(self) -> str:
        """The reply with the wrong value."""
        return self.reply.replace("{answer}", self.wrong)


def problem(topic: str, question: str, reply: str, answer: Figure, wrong: Figure) -> Problem:
    """Return a Problem whose answers are figures."""
    return Problem(topic, question, reply, answer.text, wrong.text, answer.english)


def pick(rng: Random, choices: Sequence[T]) -> T:
    """Return one choice; uses Random.random only, the one method whose sequence Python keeps across versions."""
    return choices[int(rng.random() * len(choices))]


def shuffled(rng: Random, items: Sequence[T]) -> list[T]:
    """Return the items in a random order, stable across Python versions like pick."""
    return sorted(items, key=lambda _: rng.random())


def span(rng: Random, low: int, high: int, step: int = 1) -> int:
    """Return a whole number from low to high, both included, in steps."""
    return pick(rng, range(low, high + 1, step))
