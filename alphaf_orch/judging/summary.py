"""From verdict lines to the figures of a comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.record import write_atomic
from alphaf_orch.judging.verdicts import Row, read_rows
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

    @property
    def shown(self) -> tuple[str, int, int, bool]:
        return self.category, self.a_chars, self.b_chars, self.identical

    @property
    def judged(self) -> bool:
        return len(self.winners) == len(ORDERS) and None not in self.winners.values()

    @property
    def score(self) -> float:
        """The share of the points that a got over both orders."""
        return sum(_POINTS[winner] for winner in self.winners.values() if winner) / len(ORDERS)


@dataclass
class Counts:
    """What is added up over lines, whatever they say."""

    verdicts: int = 0
    unreadable: int = 0
    retried: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    without_usage: int = 0
    judging_s: float = 0.0
    judges: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, verdict: object) -> None:
        """Count one line."""
        self.verdicts += 1
        self.unreadable += verdict is None
        self.retried += row["attempts"] > 1
        self.attempts += row["attempts"]
        self.judging_s += row["seconds"]
        self.judges[row["judge"]] += 1
        usage = row["usage"]
        if usage is None:
            self.without_usage += 1
        else:
            self.prompt_tokens += usage["prompt_tokens"]
            self.completion_tokens += usage["completion_tokens"]

    def figures(self) -> dict[str, Any]:
        """Return the sums; tokens are what the server counted, and for how many lines it did not."""
        return {
            "judge": ", ".join(sorted(self.judges)),
            "verdicts": self.verdicts,
            "parse_failures": self.unreadable,
            "retried": self.retried,
            "requests": self.attempts,
            "tokens": {
                "prompt": self.prompt_tokens,
                "completion": self.completion_tokens,
                "verdicts_without_count": self.without_usage,
            },
            "judging_s": round(self.judging_s, 3),
        }


def malformed(path: Path, number: int, error: Exception) -> RunStateError:
    """Return the error for a line that is no verdict of ours."""
    return RunStateError(
        f"a line is no verdict: {error!r}",
        where=f"{path} line {number}",
        fix="remove that line; the next run asks for what it held",
    )


def check_stages(a: str | None, b: str | None) -> tuple[str, str]:
    """Return the two stages to compare; raise ConfigError where they are not two stages of the chain."""
    for option, stage in (("--a", a), ("--b", b)):
        if stage not in CHAIN:
            what = f"{stage} is no stage of the chain" if stage else f"{option} is missing: two models are compared"
            raise ConfigError(what, where=option, fix=f"use {', '.join(CHAIN)}; for example --a dpo --b sft")
    if a == b:
        raise ConfigError(f"{a} cannot be compared with itself", where="--a, --b", fix="name two stages")
    return str(a), str(b)


def write_summary(folder: Path, a: str, b: str) -> dict[str, Any]:
    """Write summary.json from the verdicts alone and return it; raise RunStateError where there are none."""
    path = folder / "verdicts.jsonl"
    if not path.is_file() or not path.stat().st_size:
        raise RunStateError(
            f"{a} was not judged against {b} in this run", where=str(path), fix="leave out --summary to judge them"
        )
    summary = summarize(path, a, b)
    write_atomic(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def summarize(path: Path, a: str, b: str) -> dict[str, Any]:
    """Return every figure of the comparison from its verdicts alone.

    A prompt counts with both its orders or not at all: a single one would carry the judge's position bias.
    """
    prompts, counts, sets = _read(path)
    judged = [prompt for prompt in prompts.values() if prompt.judged]
    lengths = np.array([(prompt.a_chars, prompt.b_chars) for prompt in judged], dtype=float).reshape(-1, 2)
    scores = np.array([prompt.score for prompt in judged])
    controlled = length_controlled(scores, lengths[:, 0] - lengths[:, 1])
    names = sorted({prompt.category for prompt in prompts.values()})
    return {
        "format": FORMAT,
        "a": a,
        "b": b,
        "prompt_set": ", ".join(sorted(sets)),
        **counts.figures(),
        "prompts": len(prompts),
        "judged": len(judged),
        "incomplete": len(prompts) - len(judged),
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
