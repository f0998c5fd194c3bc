"""From verdict lines to the figures of a comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.line_shapes import Summary
from alphaf_orch.core.record import stored_json, write_atomic
from alphaf_orch.core.stored import absent, mending
from alphaf_orch.judging.counts import Counts
from alphaf_orch.judging.verdicts import read_rows
from alphaf_orch.runs.chain import CHAIN
from alphaf_orch.scores.preference import Estimate, length_controlled, mean, ratio

FORMAT = 1
ORDERS = ("ab", "ba")
_POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass
class _Prompt:
    """The verdicts of one prompt: by order `a`, `b`, `tie`, or None where the reply could not be read."""

    category: str
    a_chars: int
    b_chars: int
    identical: bool
    winners: dict[str, str | None] = field(default_factory=dict)
    refused: bool = False

    @property
    def shown(self) -> tuple[str, int, int, bool]:
        return self.category, self.a_chars, self.b_chars, self.identical

    @property
    def judged(self) -> bool:
        return len(self.winners) == len(ORDERS) and None not in self.winners.values()

    @property
    def end(self) -> str:
        """What became of it; a prompt of which one order was refused is refused."""
        if self.judged or self.refused:
            return "judged" if self.judged else "refused"
        return "unreadable" if len(self.winners) == len(ORDERS) else "unanswered"

    @property
    def score(self) -> float:
        """The share of the points that a got over both orders."""
        return sum(_POINTS[winner] for winner in self.winners.values() if winner) / len(ORDERS)


def malformed(path: Path, number: int, error: Exception) -> RunStateError:
    """Return the error for a line that is no verdict of ours."""
    return RunStateError(
        f"a line is no verdict: {error!r}",
        where=f"{path} line {number}",
        fix=f"{mending(path)}; the next run asks for what the line held",
        code="run.unreadable",
    )


def check_stages(a: str | None, b: str | None) -> tuple[str, str]:
    """Return the two stages to compare; raise ConfigError where they are not two stages of the chain."""
    for option, stage in (("--a", a), ("--b", b)):
        if stage not in CHAIN:
            what = f"{stage} is no stage of the chain" if stage else f"{option} is missing: two models are compared"
            raise ConfigError(
                what,
                where=option,
                fix=f"use {', '.join(CHAIN)}; for example --a dpo --b sft",
                code="config.unknown_name" if stage else "config.key_missing",
            )
    if a == b:
        raise ConfigError(
            f"{a} cannot be compared with itself", where="--a, --b", fix="name two stages", code="config.given_twice"
        )
    return str(a), str(b)


def write_summary(folder: Path, a: str, b: str, without_row: int | None = None) -> dict[str, Any]:
    """Write summary.json from the verdicts and return it; raise RunStateError where there are none.

    `without_row` says how many prompts of the last sitting have no line at all; None: as many as was said before.
    """
    path = folder / "verdicts.jsonl"
    if absent(path) or (path.is_file() and not path.stat().st_size):
        raise RunStateError(
            f"{a} was not judged against {b} in this run",
            where=str(path),
            fix="leave out --summary to judge them",
            code="run.not_judged",
        )
    summary = summarize(path, a, b, missing(folder) if without_row is None else without_row)
    write_atomic(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def missing(folder: Path) -> int:
    """Return how many prompts or votes had no line when the folder was summed up last."""
    try:
        found = (stored_json(folder / "summary.json", Summary) or {}).get("without_row")
    except RunStateError:  # made again from the verdicts
        return 0
    return int(found or 0)


def summarize(path: Path, a: str, b: str, without_row: int = 0) -> dict[str, Any]:
    """Return every figure of the comparison from its verdicts, and from how many prompts have none at all.

    A prompt counts with both its orders or not at all: a single one would carry the judge's position bias.
    """
    prompts, counts, sets = _read(path)
    judged = [prompt for prompt in prompts.values() if prompt.judged]
    lengths = np.array([(prompt.a_chars, prompt.b_chars) for prompt in judged], dtype=float).reshape(-1, 2)
    scores = np.array([prompt.score for prompt in judged])
    controlled = length_controlled(scores, lengths[:, 0] - lengths[:, 1])
    names = sorted({prompt.category for prompt in prompts.values()})
    ends = [prompt.end for prompt in prompts.values()]
    return {
        "format": FORMAT,
        "a": a,
        "b": b,
        "prompt_set": ", ".join(sorted(sets)),
        **counts.figures(),
        "prompts": len(prompts) + without_row,
        "judged": len(judged),
        "unreadable": ends.count("unreadable"),
        "refused": ends.count("refused"),
        "unanswered": ends.count("unanswered") + without_row,
        "without_row": without_row,
        "incomplete": len(prompts) + without_row - len(judged),
        **_score(judged),
        "length_controlled": asdict(controlled),
        "position_bias": asdict(_position_bias(prompts.values())),
        "consistency": _share(len(set(prompt.winners.values())) == 1 for prompt in judged),
        "identical_answers": sum(prompt.identical for prompt in judged),
        "mean_chars": dict(zip("ab", lengths.mean(axis=0).tolist() if judged else (None, None), strict=True)),
        "categories": {name: _score([p for p in judged if p.category == name]) for name in names},
    }


def _read(path: Path) -> tuple[dict[str, _Prompt], Counts, set[str]]:
    prompts: dict[str, _Prompt] = {}
    counts = Counts()
    sets = set()
    for number, row in enumerate(read_rows(path), 1):
        try:
            order, winner, keys = row["order"], row["winner"], row["keys"]
            if order not in ORDERS or not (winner is None or winner in _POINTS):
                raise ValueError(f"order {order!r}, winner {winner!r}")
            shown = (row["category"], int(row["a_chars"]), int(row["b_chars"]), keys["a"] == keys["b"])
            prompt = prompts.get(row["id"])
            if prompt is None:
                prompt = prompts[row["id"]] = _Prompt(*shown)
            elif shown != prompt.shown:
                raise ValueError("the two orders are of different answers")
            prompt.winners[order] = winner
            prompt.refused |= bool(row.get("refused"))
            sets.add(row["prompt_set"])
            counts.add(row, winner)
        except (KeyError, TypeError, ValueError) as error:
            raise malformed(path, number, error) from None
    return prompts, counts, sets


def _score(judged: list[_Prompt]) -> dict[str, Any]:
    scores = np.array([prompt.score for prompt in judged])
    return {
        "wins": int((scores > 0.5).sum()),
        "ties": int((scores == 0.5).sum()),
        "losses": int((scores < 0.5).sum()),
        "win_rate": asdict(mean(scores)),
    }


def _position_bias(prompts: Iterable[_Prompt]) -> Estimate:
    """Return how often the answer shown first won, among the verdicts that name a winner."""
    first, decided = [], []
    for prompt in prompts:
        winners = {order: winner for order, winner in prompt.winners.items() if winner in ("a", "b")}
        first.append(sum(order[0] == winner for order, winner in winners.items()))
        decided.append(len(winners))
    return ratio(np.array(first, dtype=float), np.array(decided, dtype=float), "no verdict names a winner")


def _share(hits: Iterable[bool]) -> float | None:
    found = list(hits)
    return sum(found) / len(found) if found else None
