"""From vote lines to the share of right answers of each stage."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaf_orch.judging.counts import Counts
from alphaf_orch.judging.summary import FORMAT, malformed
from alphaf_orch.judging.verdicts import read_rows
from alphaf_orch.runs.chain import CHAIN
from alphaf_orch.scores.preference import wilson

_REFUSED = "refused"
Votes = dict[str, dict[int, str | None]]  # of one stage: by row, by number; None could not be read


def summarize_votes(path: Path, without_row: int = 0) -> dict[str, Any]:
    """Return the share of O of each stage with Wilson's interval, and how many votes have no line at all.

    A row is O where more than half of its readable votes are; a row without a readable vote is not counted.
    """
    stages: dict[str, Votes] = defaultdict(lambda: defaultdict(dict))
    counts = Counts()
    for number, row in enumerate(read_rows(path), 1):
        try:
            if row["vote"] not in ("O", "X", None):
                raise ValueError(f"vote {row['vote']!r}")
            stages[row["stage"]][row["id"]][row["number"]] = _REFUSED if row.get("refused") else row["vote"]
            counts.add(row, row["vote"])
        except (KeyError, TypeError, ValueError) as error:
            raise malformed(path, number, error) from None
    order = sorted(stages, key=lambda stage: CHAIN.index(stage) if stage in CHAIN else len(CHAIN))
    ends = Counter(_end(votes.values()) for rows in stages.values() for votes in rows.values())
    return {
        "format": FORMAT,
        "source": path.parent.name.removeprefix("votes-"),
        **counts.figures(),
        **{end: ends[end] for end in ("judged", "unreadable", _REFUSED)},
        "unanswered": without_row,
        "without_row": without_row,
        "stages": {stage: _stage(stages[stage]) for stage in order},
    }


def _end(votes: Iterable[str | None]) -> str:
    """Return what became of a row; one readable vote is enough, and a refusal says more than an unreadable vote."""
    found = set(votes)
    return "judged" if found & {"O", "X"} else _REFUSED if _REFUSED in found else "unreadable"


def _stage(rows: Votes) -> dict[str, Any]:
    readable = [[vote for vote in votes.values() if vote in ("O", "X")] for votes in rows.values()]
    counted = [votes for votes in readable if votes]
    right = sum(2 * votes.count("O") > len(votes) for votes in counted)
    return {
        "rows": len(rows),
        "without_vote": len(rows) - len(counted),
        "right": right,
        "share": asdict(wilson(right, len(counted))),
        "unanimous": sum(len(set(votes)) == 1 for votes in counted) / len(counted) if counted else None,
    }
