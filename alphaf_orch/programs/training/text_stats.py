"""What is counted of texts for continued pretraining, as axolotl's type `completion` cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from alphaf_orch.programs.common import DATA, Failure
from alphaf_orch.programs.training.counts import Counts
from alphaf_orch.programs.training.data_rows import Place, stored_rows
from alphaf_orch.programs.training.token_checks import TokenChecks

# axolotl 0.19.0 (prompt_strategies/completion.py) reads no more of one text than this many pieces of sequence_len.
PIECES = 64


class Texts:
    """Texts as the trainer will see them: in pieces of sequence_len, each a row; guarantees one text in memory."""

    def __init__(self, tokenizer: Any, sequence_len: int, tokens: TokenChecks) -> None:
        self.tokenizer, self.sequence_len, self.tokens = tokenizer, sequence_len, tokens
        self.counts, self.texts, self.cut = Counts(), 0, 0

    def read(self, datasets: Iterable[dict[str, Any]]) -> None:
        """Count all texts; leave the number of rows and their format in each data set."""
        for dataset in datasets:
            dataset |= {"rows": 0, "format": "text"}
            for place, row in stored_rows(dataset):
                self.add(place, row)
                dataset["rows"] += 1

    def add(self, place: Place, row: Mapping[str, Any]) -> None:
        """Count one text; ends with exit code 3 where a row holds none."""
        text = row.get("text") if isinstance(row, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            raise Failure(
                DATA,
                "text is missing or blank",
                where=" ".join(place),
                fix="Correct or delete this row",
                code="data.text_missing",
            )
        limit = PIECES * self.sequence_len
        ids = self.tokenizer(text)["input_ids"]
        self.cut += len(ids) > limit
        ids = ids[:limit]
        # axolotl closes a text, unless it fills all pieces.
        ids += [self.tokenizer.eos_token_id] if ids[-1] != self.tokenizer.eos_token_id and len(ids) < limit else []
        unknown = ids.count(self.tokenizer.unk_token_id) if self.tokenizer.unk_token_id is not None else 0
        self.tokens.tokens += len(ids)
        self.tokens.unknown += unknown
        self.tokens.conversations += unknown > 0
        self.texts += 1
        for start in range(0, len(ids), self.sequence_len):
            # Of pieces nothing but the length is asked; the text goes with the first.
            message = {"role": "text", "content": f"{start}\x1e{text}"}
            self.counts.add([[message]], [len(ids[start : start + self.sequence_len])], None)

    def summary(self) -> dict[str, Any]:
        """Return the counts, under the names that conversations have too; a row is a piece, `texts` are the texts."""
        found = self.counts.summary(self.sequence_len)
        return {**found, "texts": self.texts, "turns": 0}

    def notes(self) -> list[str]:
        """Return what should be said of texts that are not trained on to their end."""
        if not self.cut:
            return []
        what = f"{self.cut:,} texts are longer than {PIECES} x sequence_len, and axolotl leaves out what is behind that"
        return [f"{what}: split them"]
