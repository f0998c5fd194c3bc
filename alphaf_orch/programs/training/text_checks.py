"""What is counted of the texts of all rows: signs of damage, near duplicates, rows that are held out and trained on."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import DATA, Failure
from alphaf_orch.programs.quality import Quality, Sign
from alphaf_orch.programs.row_keys import RowError
from alphaf_orch.programs.rows import Kind, Message
from alphaf_orch.programs.training.counts import Counts, row_digest
from alphaf_orch.programs.training.data_rows import Row, conversations_of, stored_rows

REPEATED_SHARE = 0.1  # ours: beyond a tenth, repetition changes how often what is seen; templates repeat on purpose
HELD_OUT_SHARE = 0.5  # ours: an evaluation loss of rows that were mostly trained on says nothing
NAMES: Mapping[Sign, str] = {
    "nfd": "nfd_rows", "replaced": "replaced_rows", "mojibake": "mojibake_rows", "control": "control_character_rows",
}  # fmt: skip
_SAID = {
    "nfd_rows": "decomposed Hangul (NFD, as macOS writes it), which costs several times the tokens: `normalize: NFC` in"
    " the config composes it",
    "replaced_rows": "U+FFFD, which stands for a character that was lost when the data were made",
    "mojibake_rows": "text that was read in a wrong encoding (ê°€, Ã©, 占쏙옙)",
    "control_character_rows": "control characters",
}
_NO_LETTER = re.compile(r"[\W\d_]+")


class TextChecks:
    """What the texts of all rows are like; 8 bytes and a set's slot for each row that differs by more than its form."""

    def __init__(self) -> None:
        self.quality = Quality()
        self.folded: set[int] = set()

    def add(self, texts: Iterable[str]) -> None:
        """Look at one row's texts."""
        whole = "\n".join(texts)
        self.quality.add(whole)
        self.folded.add(fold(whole))

    def check(self, where: str, counts: Counts, sequence_len: int) -> None:
        """End with exit code 3 where most rows are damaged, or all are one and the same.

        Where all are too long for `sequence_len` that is left to be told: it is what keeps them from being trained on.
        """
        rows = len(counts.lengths)
        worst = self.quality.worst(rows)
        if not worst and rows > 1 and len(counts.seen) == 1 and counts.lengths[0] <= sequence_len:
            worst = f"all {rows:,} rows are one and the same: nothing but that text can be learnt from them"
        if worst:
            fix = "Mend the data where they come from (docs/data.md, What is refused)"
            raise Failure(DATA, worst, where=where, fix=fix, code="data.all_rows_same")

    def summary(self, counts: Counts) -> dict[str, Any]:
        """Return the rows with each sign, and those that differ from an earlier one in form alone."""
        near = max(0, len(counts.seen) - len(self.folded))
        return {"near_duplicates": near, **{name: self.quality.counts[sign] for sign, name in NAMES.items()}}

    def notes(self, counts: Counts) -> list[str]:
        """Return what should be said of the texts before they are trained on."""
        rows, found = len(counts.lengths), self.summary(counts)
        said = [f"{found[name]:,} of {rows:,} rows hold {what}" for name, what in _SAID.items() if found[name]]
        same, near = rows - len(counts.seen), found["near_duplicates"]
        if same + near > REPEATED_SHARE * rows:
            said.append(
                f"of {rows:,} rows {same:,} have the texts of an earlier one, and {near:,} differ from one in case,"
                " blanks, punctuation or digits alone"
            )
        return said


def fold(text: str) -> int:
    """Return what texts share that are the same but for Unicode form, case, blanks, punctuation and digits."""
    letters = _NO_LETTER.sub("", unicodedata.normalize("NFC", text).casefold())
    return int.from_bytes(hashlib.blake2b(letters.encode(), digest_size=8).digest(), "little")


class HeldOut:
    """The rows that a training is evaluated on: a share that is drawn of its own rows, or data sets named for it."""

    def __init__(self, share: float, datasets: Sequence[Mapping[str, Any]], kind: Kind) -> None:
        self.share, self.datasets, self.kind = share, datasets, kind
        self.rows = self.same = self.near = 0
        self.unread: list[str] = []

    def compare(self, counts: Counts, texts: TextChecks) -> None:
        """Look each row of the named sets up among those trained on; ends with exit code 3 where most are there."""
        for dataset in self.datasets:
            if not Path(dataset["path"]).is_file():
                self.unread.append(dataset["path"])
                continue
            try:
                rows = [(place, conversations_of(row, self.kind)) for place, row in stored_rows(dataset)]
            except (RowError, Failure):
                # Of another type than ours, which the trainer reads: it is told that nothing was compared.
                self.unread.append(dataset["path"])
                continue
            self._look_up(rows, counts, texts)
        if self.same > HELD_OUT_SHARE * self.rows:
            what = f"{self.same:,} of the {self.rows:,} rows held out for evaluation are trained on"
            where = ", ".join(dataset["path"] for dataset in self.datasets)
            raise Failure(
                DATA,
                what,
                where=where,
                fix="Take them out of the training data, or name other test_datasets",
                code="data.evaluation_trained_on",
            )

    def _look_up(self, rows: Iterable[Row], counts: Counts, texts: TextChecks) -> None:
        for _, row in rows:
            self.rows += 1
            same = row_digest(row) in counts.seen
            self.same += same
            self.near += not same and fold("\n".join(row_texts(row))) in texts.folded

    def summary(self) -> dict[str, Any]:
        """Return how many rows of the named sets are trained on, and how many are but for their form."""
        return {"rows": self.rows, "trained_on": self.same, "near_trained_on": self.near} if self.datasets else {}

    def notes(self, counts: Counts) -> list[str]:
        """Return what should be said of the evaluation."""
        said = [f"{path}: its rows were not compared with those trained on" for path in self.unread]
        if self.same or self.near:
            said.append(
                f"of the {self.rows:,} rows held out for evaluation {self.same:,} are trained on, and {self.near:,}"
                " more but for case, blanks, punctuation or digits"
            )
        rows = len(counts.lengths)
        drawn = math.ceil(self.share * rows) if self.share < 1 else int(self.share)
        twins = rows - len(counts.seen) + len(counts.again)
        expected = round(drawn * twins / rows) if rows else 0
        if not self.datasets and expected:
            said.append(
                f"about {expected:,} of the {drawn:,} rows that val_set_size holds out have the same texts as a row"
                " that is trained on: take duplicates out, or the evaluation loss is too good"
            )
        return said


def row_texts(row: list[list[Message]]) -> list[str]:
    """Return the texts of a row once: its conversation, and of a preference row the rejected answer behind it."""
    messages = row[0] if len(row) == 1 else [*row[0], row[1][-1]]
    return [message["content"] for message in messages]
