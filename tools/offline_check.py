"""`make offline-check`: everything with no network but loopback and every address seen; then again with one, for times.

Needs strace and unshare. What is asked for elsewhere, or fails without a network, makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import watched

ROOT = Path(__file__).resolve().parents[1]
# A judge on loopback that finds the first answer better, and the command that asks it, in one namespace.
_JUDGED = (
    "import subprocess, sys\nfrom judge_stub import Stub, say\n"
    'with Stub(lambda *_: say(\'{"winner": "A", "reason": "x"}\')) as stub:\n'
    "    argv = [sys.executable, '-m', 'alphaf_orch', 'judge', '--judge', stub.url, *sys.argv[1:]]\n"
    "    sys.exit(subprocess.call(argv))\n"
)
CALLS = (
    ("run", "--model", "tiny", "--run", "o", "--warm"),
    ("run", "--model", "tiny", "--run", "o"),
    ("eval", "--run", "o", "--task", "finance_ko_rag", "--limit", "2", "--stages", "dpo"),
    ("judge", "--run", "o", "--a", "dpo", "--b", "sft", "--limit", "2", "--max-new-tokens", "8"),
    ("merge-models", "--run", "o", "--partner", "tiny", "--method", "linear"),
    ("report", "o"),
    ("sft", "--model", "tiny", "--run", "p", "--warm", "--set", "max_steps=1"),
    ("compare", "o", "p"),
    ("show", "o"),
    ("runs",),
    ("watch",),
    ("verify", "o"),
    ("repair", "o"),
    ("clean", "o"),
    ("plan", "--run", "o"),
    ("estimate", "--model", "tiny"),
    ("models",),
    ("doctor",),
)
# Ours: what a run on the same machine varies by, beside what the namespace itself takes to make.
SLOWER, SLACK_S = 1.25, 3.0


class Seen(NamedTuple):
    """How a command ended, after how long, and what it asked for off this machine."""

    code: int
    seconds: float
    calls: int
    elsewhere: list[str]
    said: str


def seen(call: tuple[str, ...], place: Path, *, network: bool) -> Seen:
    """Run one command of `alphaf` in a folder of its own and return what was seen."""
    trace = place / "calls"
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "fakes")))
    own = {"ALPHAF_RUNS": str(place / "runs"), "ALPHAF_CACHE": str(place / "cache"), "HF_HOME": str(place / "hf")}
    env = {**os.environ, **own, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    argv = ["-c", _JUDGED, *call[1:]] if call[0] == "judge" else ["-m", "alphaf_orch", *call]
    began = time.monotonic()
    done = subprocess.run(
        [*watched.alone(trace, network=network), sys.executable, *argv],
        cwd=place, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    took = time.monotonic() - began
    return Seen(done.returncode, took, watched.calls(trace), watched.elsewhere(trace), done.stderr.strip())


def main(argv: list[str] | None = None) -> int:
    """Print a line a command and return 1 where one asked elsewhere, failed for want of a network, or was slower."""
    parser = argparse.ArgumentParser(prog="offline_check", description=__doc__)
    parser.add_argument("--once", action="store_true", help="leave out the second round, with a network")
    args = parser.parse_args(argv)
    lacking = watched.without_network()
    if lacking:
        print(f"error: cannot look: {lacking}", file=sys.stderr)
        return 1
    wrong = []
    print(f"{'command':<14}{'calls':>7}{'elsewhere':>11}{'alone':>9}{'network':>9}")
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        for call in CALLS:
            found = seen(call, Path(first), network=False)
            beside = None if args.once else seen(call, Path(second), network=True)
            times = f"{found.seconds:8.1f}s" + (f"{beside.seconds:8.1f}s" if beside else "")
            print(f"{call[0]:<14}{found.calls:>7}{len(found.elsewhere):>11}{times}", flush=True)
            wrong += [f"{call[0]}: {line}" for line in found.elsewhere + (beside.elsewhere if beside else [])]
            if found.code != (beside.code if beside else 0):
                wrong.append(f"{call[0]}: exit code {found.code} without a network: {found.said[-500:]}")
            if beside and found.seconds > SLOWER * beside.seconds + SLACK_S:
                wrong.append(f"{call[0]}: {found.seconds:.1f} s without a network, {beside.seconds:.1f} s with one")
    print("\n".join(wrong) if wrong else "nothing was asked off this machine, and nothing waits for a network")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
