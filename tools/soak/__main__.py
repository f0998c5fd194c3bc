"""Ends tiny chains at random moments in random ways, and asserts that each goes on to the very same end.

`python tools/soak [--kills 100] [--seed 0] [--per-chain 5] [--keep DIR] [--json FILE] [WORD ...]`: the words are added
to `alphaf run --model tiny`. After every fault the same command is given again. Exit code 1 where a call ended with a
code that its fault does not explain, a process outlived `alphaf` by 10 s, a chain did not end, or ended otherwise than
the undisturbed one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from alphaf_orch.core.command import PROGRAM_ENV, child_env  # noqa: E402
from alphaf_orch.core.warm import kept_warm  # noqa: E402
from soak.chain import Hit, shared_env  # noqa: E402
from soak.soak import soak  # noqa: E402

MODEL = ("--model", "tiny")


def main() -> None:
    """Soak, print what was met and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-chain", type=int, default=5, help="faults that one chain meets before it may end")
    parser.add_argument(
        "--keep", type=Path, help="a new folder for the runs; else a temporary one, kept where one failed"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("words", nargs="*", help="added to `alphaf run --model tiny`")
    given = parser.parse_args()
    place = given.keep or Path(tempfile.mkdtemp(prefix="alphaf-soak-"))
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing of it is left
    with kept_warm([sys.executable], child_env({**PROGRAM_ENV, **shared_env(place)}, online=False)):
        hits, wrong = soak(place, (*MODEL, *given.words), given.kills, given.seed, given.per_chain)
    _told(hits, wrong, time.monotonic() - begun)
    if given.json:
        report = {"seed": given.seed, "hits": [asdict(hit) for hit in hits], "wrong": wrong}
        given.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if wrong:
        raise SystemExit(f"{len(wrong)} wrong; the runs are in {place}")
    if not given.keep:
        shutil.rmtree(place)


def _told(hits: list[Hit], wrong: list[str], seconds: float) -> None:
    for fault, count in sorted(Counter(hit.fault for hit in hits).items()):
        met = Counter(hit.stage for hit in hits if hit.fault == fault)
        print(f"{fault}: {count} ({', '.join(f'{stage} {number}' for stage, number in sorted(met.items()))})")
    print(f"{len(hits)} faults, {len(wrong)} wrong, {seconds:.0f} s")
    for each in wrong:
        print(f"WRONG {each}")


if __name__ == "__main__":
    main()
