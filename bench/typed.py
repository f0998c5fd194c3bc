"""Measures what is typed often: `alphaf --help`, the plan of a large model, and a second `alphaf run`.

`python bench/typed.py [--times N] [--json FILE]` shows the median of N calls. The second run is of a chain on the toy
model that is made first, which takes most of the time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from figures import arguments, as_row, cost, machine, publish

ALPHAF = [sys.executable, "-m", "alphaf_orch"]
SECOND = ("run", "--model", "tiny", "--run", "smoke")
TYPED = (("--help",), ("plan", "--model", "eeve"), SECOND)


def main() -> None:
    """Measure each command several times, the first call aside: it fills the caches of the disk."""
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=9, help="how often each is measured")
    given = parser.parse_args()
    about = machine("click", "pydantic", "rich", "jinja2")
    rows = []
    with tempfile.TemporaryDirectory(prefix="alphaf-bench-") as name:
        folder = Path(name)
        env = {"ALPHAF_RUNS": str(folder / "runs"), "ALPHAF_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        cost([*ALPHAF, *SECOND, "--warm"], env)
        for words in TYPED:
            calls = [cost([*ALPHAF, *words], env) for _ in range(given.times + 1)][1:]
            middle = replace(
                calls[0],
                seconds=statistics.median(call.seconds for call in calls),
                cpu_seconds=statistics.median(call.cpu_seconds for call in calls),
            )
            rows.append(as_row(f"alphaf {' '.join(words)}", middle))
    publish("typed", rows, about, given.json)


if __name__ == "__main__":
    main()
