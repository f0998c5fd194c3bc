"""Write the data files of finance-ko and general-ko: PYTHONPATH=tools python -m sample_data.benchmark [--check]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sample_data.benchmark_choices import mcq_rows, sentiment_rows
from sample_data.benchmark_general import general_mcq_rows, general_open_rows
from sample_data.benchmark_numeric import numeric_rows
from sample_data.benchmark_rag import rag_rows
from sample_data.files import write_or_check

# The checkout's templates: an installed package is not the place to write to.
FOLDER = Path(__file__).parents[2] / "templates" / "eval"


def build() -> dict[str, str]:
    """Return the text of each file by its path under templates/eval, the same on every machine and Python."""
    rows = {
        "finance_ko/numeric.jsonl": numeric_rows(),
        "finance_ko/rag.jsonl": rag_rows(),
        "finance_ko/mcq.jsonl": mcq_rows(),
        "finance_ko/sentiment.jsonl": sentiment_rows(),
        "general_ko/mcq.jsonl": general_mcq_rows(),
        "general_ko/open.jsonl": general_open_rows(),
    }
    return {
        name: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in file_rows)
        for name, file_rows in rows.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with --check only compare them; returns 0, or 1 where --check found a difference."""
    files = {FOLDER / name: text for name, text in build().items()}
    return write_or_check(files, argv, "sample_data.benchmark", __doc__)


if __name__ == "__main__":
    sys.exit(main())
