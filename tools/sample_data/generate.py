"""Write the sample files, the same bytes everywhere: PYTHONPATH=tools python -m sample_data.generate [--check]."""

from __future__ import annotations

import json
import sys

from sample_data.conversations import Draws, Row, sft_rows
from sample_data.files import write_or_check
from sample_data.korean import shuffled
from sample_data.preferences import preference_rows
from sample_data.ratios import RATIOS

from alphaf_orch.inputs.samples import FILES, sample_path


def build() -> dict[str, str]:
    """Return the text of every sample file by name; the held-out questions are drawn first and never asked again."""
    seen: set[str] = set()
    held, train, better = (Draws(split, seen) for split in ("heldout", "train", "preference"))
    # Each split defines other ratios in its conversations, so that no first question occurs in two of them.
    rows = {
        "finance_ko_sft_heldout.jsonl": sft_rows(
            held, arithmetic=17, tables=12, rounds=1, kept=1, ratios=RATIOS[:2], talks=2
        ),
        "finance_ko_sft.jsonl": sft_rows(
            train, arithmetic=102, tables=70, rounds=2, kept=4, ratios=RATIOS[2:12], talks=8
        ),
        "finance_ko_dpo.jsonl": preference_rows(
            better, arithmetic=26, tables=10, rounds=4, ratios=RATIOS[12:17], talks=6
        ),
    }
    ordered = {name: shuffled(Draws(name, seen).rng("order"), rows[name]) for name in rows}
    # For a demonstration of few steps: the rows of the SFT file that teach one thing that can be measured.
    cited = [row for row in ordered["finance_ko_sft.jsonl"] if row["kind"] == "citation"]
    ordered["finance_ko_citation.jsonl"] = cited
    return {name: _lines(ordered[name]) for name in FILES}


def _lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with --check only compare them; returns 0, or 1 where --check found a difference."""
    files = {sample_path(name): text for name, text in build().items()}
    return write_or_check(files, argv, "sample_data.generate", __doc__)


if __name__ == "__main__":
    sys.exit(main())
