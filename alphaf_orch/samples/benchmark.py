"""Write the data files of the finance-ko benchmark: python -m alphaf_orch.samples.benchmark [--check]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from alphaf_orch.samples.benchmark_choices import mcq_rows, sentiment_rows
from alphaf_orch.samples.benchmark_numeric import numeric_rows
from alphaf_orch.samples.benchmark_rag import rag_rows
from alphaf_orch.samples.files import write_or_check

# The checkout's templates: an installed package is not the place to write to.
FOLDER = Path(__file__).parents[2] / "templates" / "eval" / "finance_ko"


def build() -> dict[str, str]:
    """Return the text of each file by name, the same on every machine and Python."""
    rows = {
        "numeric.jsonl": numeric_rows(),
        "rag.jsonl": rag_rows(),
        "mcq.jsonl": mcq_rows(),
        "sentiment.jsonl": sentiment_rows(),
    }
    return {
        name: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in file_rows)
        for name, file_rows in rows.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with --check only compare them; returns 0, or 1 where --check found a difference."""
    files = {FOLDER / name: text for name, text in build().items()}
    return write_or_check(files, argv, "alphaf_orch.samples.benchmark", __doc__)


if __name__ == "__main__":
    sys.exit(main())
