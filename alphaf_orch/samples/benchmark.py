"""Write the data files of the finance-ko benchmark: python -m alphaf_orch.samples.benchmark [--check]."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from alphaf_orch.samples.benchmark_choices import mcq_rows, sentiment_rows
from alphaf_orch.samples.benchmark_numeric import numeric_rows
from alphaf_orch.samples.benchmark_rag import rag_rows

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
    parser = argparse.ArgumentParser(prog="alphaf_orch.samples.benchmark", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")
    check = parser.parse_args(argv).check
    stale = 0
    for name, text in build().items():
        path = FOLDER / name
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Renamed into place, so that an interrupted run leaves the old file whole.
            temporary = path.with_suffix(".tmp")
            temporary.write_text(text, encoding="utf-8", newline="\n")
            temporary.replace(path)
            print(f"{name}: {text.count(chr(10))} rows")
        elif not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            stale = 1
            print(
                f"error: {name} is not what the generator writes\n  where: {path}\n"
                "  next:  run python -m alphaf_orch.samples.benchmark",
                file=sys.stderr,
            )
    return stale


if __name__ == "__main__":
    sys.exit(main())
