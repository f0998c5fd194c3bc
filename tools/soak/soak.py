"""A soak: chains that faults end again and again, each compared with an undisturbed one."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import sys
from pathlib import Path

from soak.chain import MISSED, Chain, Hit, State, durations


def soak(
    place: Path, words: tuple[str, ...], kills: int, seed: int, per_chain: int, python: str = sys.executable
) -> tuple[list[Hit], list[str]]:
    """Return every hit, and what was wrong; finished chains that were right are removed."""
    undisturbed = Chain(place / "undisturbed", words, python)
    code = undisturbed.finish()
    if code:
        raise SystemExit(f"the undisturbed chain ended with {code}: {undisturbed.said.read_text('utf-8')[-2000:]}")
    wanted, took = undisturbed.state(), durations(undisturbed.entries())
    hits: list[Hit] = []
    wrong: list[str] = []
    for number in itertools.count():
        if len(hits) >= kills:
            break
        chance = random.Random(f"{seed}/{number}")  # a chain is the same whatever went before it
        chain = Chain(place / f"{number:03d}", words, python)
        found: list[str] = []
        met = 0
        while chain.left(took) and met < per_chain and len(hits) < kills:
            hit = chain.hit(chance, took)
            if hit.stage == MISSED and not hit.wrong:
                continue
            met += 1
            hits.append(hit)
            print(
                f"{len(hits):4d} chain {number}: {hit.fault} in {hit.stage}: {hit.exit_code} {hit.wrong or ''}",
                flush=True,
            )
            found += [f"chain {number}, {hit.fault} in {hit.stage}: {each}" for each in hit.wrong]
        found += [f"chain {number}: {each}" for each in _at_the_end(chain, wanted)]
        wrong += found
        if not found:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(place / f"{number:03d}")
    return hits, wrong


def _at_the_end(chain: Chain, wanted: State) -> list[str]:
    code = chain.finish()
    if code:
        return [f"the last call ended with {code}: {chain.said.read_text('utf-8')[-800:]}"]
    state = chain.state()
    others = sorted(
        name for name in {*wanted.weights, *state.weights} if wanted.weights.get(name) != state.weights.get(name)
    )
    found = [f"other weights than the undisturbed: {', '.join(others)}"] if others else []
    return [*found, *(["other stages than the undisturbed"] if state.stages != wanted.stages else [])]
