"""What is counted over all rows of the data: turns, lengths, repetitions, and how many sequences they pack into."""

from __future__ import annotations

import hashlib
import math
import re
import statistics
from array import array
from collections.abc import Iterable
from typing import Any

from alphaf_orch.programs.rows import Message

PACKED_UP_TO = 1024  # ours: more full sequences than ranks x micro batch; beyond it the tokens tell the number


class Counts:
    """Numbers gathered over all rows; 4 bytes a row for its length and about 80 for its digest."""

    def __init__(self) -> None:
        self.lengths = array("I")
        self.total = self.turns = self.control = self.masked = 0
        self.seen: set[bytes] = set()
        self.again: set[bytes] = set()

    def add(self, row: list[list[Message]], lengths: list[int], control: re.Pattern[str] | None) -> None:
        """Count one row: its one conversation, or a preference row's two with a shared prompt."""
        messages = row[0] if len(row) == 1 else [*row[0], row[1][-1]]
        self.lengths.append(max(lengths))
        self.total += sum(lengths)
        self.turns += sum(message["role"] != "system" for message in row[0])
        self.masked += sum("train" in message for message in row[0])
        self.control += control is not None and any(control.search(m["content"]) for m in messages)
        digest = row_digest(row)
        if digest in self.seen:
            self.again.add(digest)
        self.seen.add(digest)

    def summary(self, sequence_len: int) -> dict[str, Any]:
        """Return the counts; p95 is the nearest rank: 95 % of the rows are no longer than it."""
        ordered = sorted(self.lengths)
        longer = sum(length > sequence_len for length in ordered)
        kept = [length for length in self.lengths if length <= sequence_len]
        return {
            "rows": len(ordered),
            "turns": self.turns,
            "masked_turns": self.masked,
            "duplicates": len(ordered) - len(self.seen),
            "rows_with_control_tokens": self.control,
            "tokens": {
                "total": self.total,
                "min": ordered[0],
                "median": statistics.median(ordered),
                "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
                "max": ordered[-1],
            },
            "sequence_len": sequence_len,
            "longer_than_sequence_len": {"rows": longer, "share": longer / len(ordered)},
            "kept": {"rows": len(kept), "tokens": sum(kept), "packed": packed(kept, sequence_len)},
        }


def row_digest(row: list[list[Message]]) -> bytes:
    """Return what rows with the same texts share; with 64 bits a chance hit is out of reach."""
    messages = row[0] if len(row) == 1 else [*row[0], row[1][-1]]
    text = "\x1f".join(f"{message['role']}\x1e{message['content']}" for message in messages)
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def packed(lengths: Iterable[int], sequence_len: int) -> int:
    """Return how many sequences the rows fill first-fit, as axolotl packs them; counted up to PACKED_UP_TO."""
    free: list[int] = []
    for length in lengths:
        place = next((i for i, left in enumerate(free) if left >= length), None)
        if place is not None:
            free[place] -= length
        elif len(free) == PACKED_UP_TO:
            break
        else:
            free.append(sequence_len - length)
    return len(free)
