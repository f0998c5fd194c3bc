"""The rows and tokens of a training, as far as they are known: counted, counted by another run, or guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.estimates.measured import Facts, Measured
from alphaf_orch.estimates.ranges import Range, exactly
from alphaf_orch.inputs.sources import Source

# Tokens that a byte of a file of rows becomes, JSON and unused keys included. Measured on the shipped Korean rows: 0.25
# with a vocabulary of their own, 0.71 with SmolLM2's, which knows no Korean; English prose has about 0.25.
TOKENS_PER_BYTE = Range(0.28, 0.15, 0.75)
LIKE_BEFORE = 0.4  # ours: how far other rows are from those that were counted with the same vocabulary
# ours: the longest row in means of all rows (2.5 on the shipped rows), cut at sequence_len
LONGEST_IN_MEANS = 3.0
# What packing leaves empty is little: first-fit leaves 1 to 3 % (counted on the shipped rows).
_FILLED = 0.97
# Sets that presets name and that are on no machine before they are fetched: rows and bytes of the split `train`, as the
# hub's own card of the set (`dataset_info`) has them.
KNOWN_SETS = {"argilla/dpo-mix-7k": (6750, 41_362_946)}
_COUNTED = ("rows", "sequence_len", "tokens", "longer_than_sequence_len", "kept")


@dataclass(frozen=True)
class Rows:
    """A report as the data stage writes it, whole or guessed; `tokens` is how far the true count may be from it."""

    report: Mapping[str, Any]
    tokens: Range
    basis: str
    key: str = ""  # what identifies the rows, where that is known

    @property
    def longest(self) -> int:
        """The tokens of the longest row that is trained on."""
        return min(int(self.report["tokens"]["max"]), int(self.report["sequence_len"]))

    @property
    def mean(self) -> float:
        """The tokens of a row in the mean, cut at sequence_len."""
        rows = max(1, int(self.report["rows"]))
        return min(float(self.report["tokens"]["total"]) / rows, float(self.report["sequence_len"]))


def counted(report: Mapping[str, Any], basis: str) -> Rows | None:
    """Return the rows that a data stage counted; None for a report of a version that left out what is needed."""
    return Rows(report, exactly(1.0), basis) if all(name in report for name in _COUNTED[:4]) else None


def counts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a data stage's report what steps and tokens follow from: figures alone."""
    return {name: report[name] for name in _COUNTED if name in report}


def remembered(key: str, kept: Sequence[Measured]) -> Rows | None:
    """Return the rows as another run counted them: of the same content, template, length and size of vocabulary."""
    for one in reversed(kept):
        if one.data.get("key") == key and "report" in one.data:
            return counted(one.data["report"], f"counted by run {one.run}")
    return None


def guessed(
    found: Sequence[Source], sequence_len: int, vocabulary: int, kept: Sequence[Measured], *, preference: bool
) -> Rows | None:
    """Return the rows with their tokens guessed from bytes; None where a set's rows or bytes are not known."""
    sizes = [KNOWN_SETS.get(source.path, (source.rows, source.size)) for source in found]
    if not found or not all(rows and size for rows, size in sizes):
        return None
    rows, size = sum(int(rows or 0) for rows, _ in sizes), sum(int(size or 0) for _, size in sizes)
    ratio, basis = _tokens_per_byte(vocabulary, kept, preference=preference)
    mean = size * ratio.value / rows / (2 if preference else 1)  # a pair holds its prompt twice
    total = math.ceil(min(mean, sequence_len) * rows)
    longest = min(sequence_len, math.ceil(LONGEST_IN_MEANS * mean))
    report = {
        "rows": rows,
        "sequence_len": sequence_len,
        "tokens": {"total": total, "max": longest},
        "longer_than_sequence_len": {"rows": 0},
        "kept": {"rows": rows, "tokens": total, "packed": math.ceil(total / sequence_len / _FILLED)},
    }
    return Rows(report, ratio.times(1 / ratio.value), f"{basis}, {rows:,} rows checked")


def _tokens_per_byte(vocabulary: int, kept: Sequence[Measured], *, preference: bool) -> tuple[Range, str]:
    for one in reversed(kept):
        data: Facts = one.data
        if data.get("bytes") and one.shape.get("vocab_size") == vocabulary and data.get("preference") == preference:
            ratio = data["report"]["tokens"]["total"] * (2 if preference else 1) / data["bytes"]
            return exactly(ratio).about(LIKE_BEFORE), f"tokens estimated by the rows that run {one.run} counted"
    return TOKENS_PER_BYTE, "tokens estimated from bytes"
