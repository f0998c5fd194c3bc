"""Bare numbers and the unit that a label elsewhere gives them: behind them, in their row, column, or a caption."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from alphaf_orch.programs.scoring.grammar import PLAIN
from alphaf_orch.programs.scoring.numbers import Quantity
from alphaf_orch.programs.scoring.unit_labels import Label, unit_labels

# Nothing but an approximation stands between a number and its own label: 12,345 (백만원).
_BETWEEN = re.compile(r" ?(?:정도 ?|가량 ?)?")
# A label holds for what follows it in its line; a new clause has no label of it any more.
_CLAUSE_END = re.compile(r"[.!?。](?=\s|$)|(?:이고|이며|지만|는데|으나) |\n")


def with_labels(text: str, numbers: Sequence[Quantity], wanted: Collection[str]) -> list[Quantity]:
    """Return the numbers of a normalised text, those without a unit in the unit of the label that holds for them.

    Looked for in this order: behind the number, before it in its row or clause, in the header of its column, in the
    table's first header, and (for what a question in a wanted unit may ask for) a caption such as (단위: 백만원).
    """
    labels = unit_labels(text)
    if not labels or not any(number.unit == PLAIN for number in numbers):
        return list(numbers)
    page = _Page(text, labels, wanted)
    return [page.named(number) if number.unit == PLAIN else number for number in numbers]


class _Page:
    """The lines of a text, its tables' headers and its labels, each found once."""

    def __init__(self, text: str, labels: Sequence[Label], wanted: Collection[str]) -> None:
        self.text, self.labels, self.wanted = text, labels, wanted
        self.starts = [label.start for label in labels]
        self.captions = [label for label in labels if label.caption]
        breaks = [*(found.start() for found in _CLAUSE_END.finditer(text)), len(text)]
        self.reach = [breaks[bisect_left(breaks, label.end)] for label in labels]
        self.lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self.crowded: set[int] = set()  # lines of tables with several rows: such a copy answers nothing
        self.columns = self._columns()

    def _columns(self) -> dict[int, list[Label | None]]:
        """Return for every line of a table the labels of its header, cell by cell."""
        columns: dict[int, list[Label | None]] = {}
        header: list[Label | None] = []
        first = 0
        for number, start in enumerate(self.lines):
            end = self.lines[number + 1] - 1 if number + 1 < len(self.lines) else len(self.text)
            if "|" not in self.text[start:end]:
                header = []
                continue
            first = number if number - 1 not in columns else first
            header = header or self._cells(start, end)
            columns[number] = header
            if number - first > 1:
                self.crowded.update(range(first, number + 1))
        return columns

    def _cells(self, start: int, end: int) -> list[Label | None]:
        bars = [start, *(found.end() for found in re.finditer(r"\|", self.text[start:end])), end + 1]
        bars[1:-1] = [start + bar for bar in bars[1:-1]]
        return [self._first_in(a, b - 1) for a, b in pairwise(bars)]

    def _first_in(self, start: int, end: int) -> Label | None:
        place = bisect_left(self.starts, start)
        label = self.labels[place] if place < len(self.labels) else None
        return label if label and label.start < end and not label.caption else None

    def named(self, number: Quantity) -> Quantity:
        """Return a bare number in the unit of the label that holds for it, itself where none does."""
        behind = bisect_left(self.starts, number.end)
        label = self.labels[behind] if behind < len(self.labels) else None
        if label and _BETWEEN.fullmatch(self.text, number.end, label.start):
            return self._in(number, label, end=label.end)
        label = self._before(number)
        if not label and bisect_right(self.lines, number.start) - 1 in self.crowded:
            return number
        label = label or self._of_column(number)
        if label:
            return self._in(number, label)
        caption = next((label for label in reversed(self.captions) if label.end <= number.start), None)
        caption = caption or next(iter(self.captions), None)
        asked = caption and any(unit in self.wanted for unit in caption.units)
        return self._in(number, caption) if caption and asked else number  # 백만원 says nothing of a rate

    def _in(self, number: Quantity, label: Label, end: int = 0) -> Quantity:
        unit = next((unit for unit in label.units if unit in self.wanted), next(iter(label.units)))
        value = number.value * (Decimal(1) if number.scaled else label.units[unit])
        return replace(number, value=value, unit=unit, end=end or number.end)

    def _before(self, number: Quantity) -> Label | None:
        place = bisect_left(self.starts, number.start) - 1
        while place >= 0 and self.reach[place] >= number.start:
            if not self.labels[place].caption:
                return self.labels[place]
            place -= 1
        return None

    def _of_column(self, number: Quantity) -> Label | None:
        line = bisect_right(self.lines, number.start) - 1
        header = self.columns.get(line)
        if not header:
            return None
        column = self.text.count("|", self.lines[line], number.start)
        own = header[column] if column < len(header) else None
        return own or next((label for label in header[:2] if label), None)
