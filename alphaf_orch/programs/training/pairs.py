"""What is left of preference pairs once they are cut to the length that is trained."""

from __future__ import annotations

from alphaf_orch.programs.common import DATA, Failure


class Pairs:
    """What is left of preference pairs once cut as TRL cuts them: the end of prompt and answer together."""

    def __init__(self, sequence_len: int) -> None:
        self.sequence_len = sequence_len
        self.rows = self.left_out = self.equal = self.cut = 0

    def add(self, prompt: list[int], chosen: list[int], rejected: list[int]) -> None:
        """Count one pair by the tokens of its prompt and of its two whole conversations."""
        self.rows += 1
        if len(prompt) >= self.sequence_len:
            self.left_out += 1  # TRL drops it
            return
        self.cut += max(len(chosen), len(rejected)) > self.sequence_len
        if chosen[: self.sequence_len] == rejected[: self.sequence_len]:
            self.equal += 1

    def check(self, where: str) -> None:
        """End with exit code 3 where no pair is left whole, or most are equal after the cut (zero gradient)."""
        kept = self.rows - self.left_out
        if self.rows and not kept:
            what = f"no pair fits: every prompt alone fills sequence_len {self.sequence_len}"
            raise Failure(
                DATA, what, where=where, fix="Raise sequence_len, or shorten the data", code="data.nothing_fits"
            )
        if self.rows and self.cut == kept:
            what = f"no pair fits: the end of every answer would be cut off at sequence_len {self.sequence_len}"
            raise Failure(
                DATA, what, where=where, fix="Raise sequence_len, or shorten the data", code="data.nothing_fits"
            )
        if 2 * self.equal > kept:
            what = (
                f"{self.equal} of {kept} pairs have two equal answers once cut to sequence_len {self.sequence_len}:"
                " no preference can be learnt from them"
            )
            raise Failure(
                DATA,
                what,
                where=where,
                fix="Raise sequence_len, or give answers that differ before the cut",
                code="data.answers_equal",
            )

    def summary(self) -> dict[str, int]:
        """Return how many pairs are left out, and how many of the others are equal after the cut."""
        return {"pairs_left_out": self.left_out, "pairs_equal_after_cut": self.equal}
