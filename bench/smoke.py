"""Measures the chain on the toy model from nothing, its programs started cold and forked of a warm parent in turn.

`python bench/smoke.py [--times N] [--ablate] [--json FILE]`: with `--ablate` also `alphaf ablate neftune --model tiny
--seeds 2`. Each call has folders of its own; the weights of all chains must be the same. Processor seconds count all
that a command started and waited for.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import arguments, as_row, cost, machine, publish

ALPHAF = [sys.executable, "-m", "alphaf_orch"]
CHAIN = ["run", "--model", "tiny", "--run", "smoke"]
ABLATION = ["ablate", "neftune", "--model", "tiny", "--seeds", "2", "--name", "smoke"]


def measured(words: list[str], how: str, folder: Path) -> tuple[dict[str, Any], str]:
    """Return the row of one call from nothing, and a hash of the weights that it left."""
    env = {"ALPHAF_RUNS": str(folder / "runs"), "ALPHAF_CACHE": str(folder / "cache")}
    if words is CHAIN:
        env["OMP_NUM_THREADS"] = "1"  # as `make smoke` says; an ablation shares the processors out itself
    done = cost([*ALPHAF, *words, how], env)
    digest = hashlib.sha256()
    for file in sorted((folder / "runs").rglob("merged/*.safetensors")):
        digest.update(file.read_bytes())
    name = " ".join(words[:2] if words[0] == "ablate" else words[:1])
    return {**as_row(f"alphaf {name} {how}", done), "weights": digest.hexdigest()[:12]}, digest.hexdigest()


def main() -> None:
    """Measure cold and warm in turn, so that the load of others meets both."""
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=1, help="how often each is measured")
    parser.add_argument("--ablate", action="store_true", help="the ablation too: minutes")
    given = parser.parse_args()
    about = machine("torch", "transformers", "axolotl", "trl")
    rows: list[dict[str, Any]] = []
    weights: set[str] = set()
    for words in [CHAIN, ABLATION] if given.ablate else [CHAIN]:
        weights.clear()
        for how in ["--no-warm", "--warm"] * given.times:
            with tempfile.TemporaryDirectory(prefix="alphaf-bench-") as folder:
                row, digest = measured(words, how, Path(folder))
            rows.append(row)
            weights.add(digest)
            print(row, file=sys.stderr, flush=True)
        if len(weights) != 1:
            raise SystemExit(f"{words[0]}: cold and warm left other weights")
    publish("smoke", rows, about, given.json)


if __name__ == "__main__":
    main()
