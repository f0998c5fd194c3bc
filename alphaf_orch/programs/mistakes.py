"""The mistakes of one file's rows, told together: the first of them by kind and place, and how many more there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

SHOWN = 20  # ours: what a person mends in one go, and what fits a screen
SEVERAL_CODE = "data.several_mistakes"
_KINDS = 1000  # ours: a file of rubbish has a new kind in every row
_PLACES = re.compile(r"\[\d+\]| \(column \d+\)")

Unit = Literal["line", "row"]


@dataclass(frozen=True)
class Mistake:
    """One row that must not be trained on: its line (or row, from 1), what is wrong, what to do, the key inside it."""

    number: int
    what: str
    fix: str
    code: str
    key: str = ""

    @property
    def kind(self) -> str:
        """Return what is wrong without where: rows that differ in that alone have the same mistake."""
        return _PLACES.sub(lambda found: "[]" if found[0].startswith("[") else "", self.what)


class Mistakes:
    """The mistakes found in one file so far; guarantees the first SHOWN in memory and the others counted by kind.

    `path` is the file as the user knows it, `unit` how its rows are numbered there.
    """

    def __init__(self, path: object, unit: Unit = "line") -> None:
        self.path, self.unit = str(path), unit
        self.first: list[Mistake] = []
        self.kinds: Counter[str] = Counter()

    def __len__(self) -> int:
        return self.kinds.total()

    def add(self, number: int, what: str, *, fix: str, code: str, key: str = "") -> None:
        """Count the mistake of one row, in the rows' order; the key `row` is the whole of it, and is not told."""
        self._add(Mistake(number, what, fix, code, "" if key == "row" else key))

    def extend(self, later: Mistakes, before: int) -> None:
        """Add what was found in the next part of the file, whose first row has `before` rows in front of it."""
        hidden = later.kinds.copy()
        for mistake in later.first:
            hidden[mistake.kind] -= 1
            self._add(replace(mistake, number=mistake.number + before))
        for kind, count in hidden.items():
            self._count(kind, count)

    def check(self, error: Callable[..., BaseException], *, alone: bool = False) -> None:
        """Raise `error(what, where=…, fix=…, code=…)` if there is one: of one, or the first `alone`, its own words."""
        if self.first:
            fix = "; ".join(_once(mistake.fix.removesuffix(".") for mistake in self.first))
            one = self.first[0]
            what, fix = (one.what, one.fix) if alone or len(self) == 1 else (self._listed(), fix)
            raise error(what, where=self._place(one), fix=fix, code=self._code(alone=alone))

    def _code(self, *, alone: bool) -> str:
        codes = {mistake.code for mistake in self.first[: 1 if alone else None]}
        return codes.pop() if len(codes) == 1 else SEVERAL_CODE

    def _add(self, mistake: Mistake) -> None:
        if len(self.first) < SHOWN:
            self.first.append(mistake)
        self._count(mistake.kind, 1)

    def _count(self, kind: str, count: int) -> None:
        if count:
            self.kinds[kind if kind in self.kinds or len(self.kinds) < _KINDS else "others"] += count

    def _place(self, mistake: Mistake) -> str:
        key = f", key {mistake.key}" if mistake.key else ""
        return f"{self.path} {self._at(mistake)}{key}"

    def _at(self, mistake: Mistake) -> str:
        return f"line {mistake.number}" if self.unit == "line" else f"row {mistake.number}"

    def _listed(self) -> str:
        shown = f", the first {len(self.first)} of them" if len(self) > len(self.first) else ""
        found = f"{len(self):,} lines" if self.unit == "line" else f"{len(self):,} rows"
        lines = [f"{found} that must not be trained on{shown} by kind:"]
        for kind in _once(mistake.kind for mistake in self.first):
            here = [mistake for mistake in self.first if mistake.kind == kind]
            lines.append(f"  {kind} ({self.kinds[kind]:,})")
            lines += [f"    {self._at(m)}{_detail(m)}" for m in here]
        rest = self.kinds.copy()
        rest.subtract(mistake.kind for mistake in self.first)
        more = [f"{count:,} x {kind}" for kind, count in rest.most_common(SHOWN) if count > 0]
        if more:
            lines.append(f"  and {len(self) - len(self.first):,} more: {'; '.join(more)}")
        return "\n".join(lines)


def _detail(mistake: Mistake) -> str:
    if mistake.key:
        return f", key {mistake.key}"
    return f": {mistake.what}" if mistake.what != mistake.kind else ""


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
