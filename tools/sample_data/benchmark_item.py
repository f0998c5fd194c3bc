"""One table question of the numeric benchmark: its exact value, how it is rounded, shown and accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from random import Random

from sample_data.korean import pick, plain, span, won

EOK = 10**8
MAN = 10**4
FIRMS = (
    "도담반도체",
    "해오름조선",
    "벼리바이오",
    "솔빛디스플레이",
    "단비유통",
    "늘솔제지",
    "여울소프트",
    "나래모빌리티",
    "다붓화장품",
    "윤슬정밀",
    "소담식자재",
    "달무리게임즈",
)
BANKS = ("별하은행", "산들은행", "하람은행", "이든은행")
LENDERS = (*BANKS, "미쁨저축은행", "두레저축은행")
_PLACES = {"1": 0, "0.1": 1, "0.01": 2}
_ROUNDING = {
    1: ("소수점 첫째 자리까지 반올림해 답하세요.", "답은 소수점 둘째 자리에서 반올림해 주세요."),
    2: ("소수점 둘째 자리까지 반올림해 답하세요.", "답은 소수점 셋째 자리에서 반올림해 주세요."),
}


@dataclass(frozen=True)
class Item:
    """A question on a table; step is the precision that the question asks for, in the unit of the answer."""

    topic: str
    table: str
    question: str
    exact: Decimal
    unit: str
    step: Decimal = Decimal(1)

    @property
    def shown(self) -> Decimal:
        """The value rounded half up to the step."""
        return (self.exact / self.step).quantize(Decimal(1), ROUND_HALF_UP) * self.step

    @property
    def doubtful(self) -> bool:
        """Whether rounding is nearly a tie, where two careful readers could differ, or the value is zero."""
        return self.exact == 0 or abs(abs(self.exact / self.step) % 1 - Decimal("0.5")) < Decimal("0.02")

    @property
    def answer(self) -> str:
        """The value as a Korean reader would write it, marked 약 where it was rounded."""
        if self.unit == "원":
            text = ("-" if self.shown < 0 else "") + won(abs(int(self.shown)))
        elif self.unit == "주" and self.shown % MAN == 0:
            text = f"{int(self.shown) // MAN:,}만주"
        elif self.shown == self.exact:
            text = plain(self.shown) + self.unit
        else:
            text = f"{self.shown:,.{_PLACES[str(self.step)]}f}{self.unit}"
        return text if self.shown == self.exact else f"약 {text}"

    @property
    def tolerance(self) -> Decimal:
        """Half a step where the value was rounded; an exact value leaves room for floating point only."""
        if self.shown != self.exact:
            return self.step / 2
        return Decimal("0.5") if self.unit == "원" else self.step / 10

    def row(self, key: str) -> dict[str, object]:
        """Return the row as written to the file; the value keeps six decimals."""
        return {
            "id": key,
            "topic": self.topic,
            "table": self.table,
            "question": self.question,
            "answer": self.answer,
            "value": _number(self.exact),
            "unit": self.unit,
            "tolerance": _number(self.tolerance),
        }


def _number(value: Decimal) -> int | float:
    rounded = value.quantize(Decimal("0.000001"), ROUND_HALF_UP)
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)


def grid(header: tuple[str, ...], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table; whole numbers get thousands commas, decimals keep their digits."""
    cells = [[f"{cell:,}" if isinstance(cell, int | Decimal) else str(cell) for cell in row] for row in rows]
    rule = "|:----|" + "----:|" * (len(header) - 1)
    return "\n".join(("| " + " | ".join(header) + " |", rule, *("| " + " | ".join(row) + " |" for row in cells)))


def hundredths(value: int) -> Decimal:
    """Return a whole number of hundredths as a Decimal that keeps its two digits in a table."""
    return Decimal(value).scaleb(-2)


def near(rng: Random, base: int, swing: int, step: int = 1) -> int:
    """Return a whole number within swing percent of a base, in steps, so that a series moves believably."""
    return base * span(rng, 100 - swing, 100 + swing) // 100 // step * step


def rounding(rng: Random, places: int) -> str:
    """Return a sentence asking for one or two decimals."""
    return pick(rng, _ROUNDING[places])
