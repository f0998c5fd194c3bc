"""A wish that a run stops, put into its folder: whoever works on the run sees it, on whatever machine that is (heed).

`later` asks a training for a checkpoint and has the job sent back to the queue, `stop` asks for the same and ends it.
A signal does the same for a process that one can reach: SIGUSR1 for `later`, SIGINT and SIGTERM for `stop`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alphaf_orch.core.record import now, write_atomic
from alphaf_orch.core.small_files import parse_json

Kind = Literal["later", "stop"]
_MOST_S = 1e9


@dataclass(frozen=True)
class Wish:
    """What is wished, since when, and why, in words: `the time limit of job 12`, `the board`.

    A wish that names a `job` (and its `restart`) is for what works in that job alone, whenever it was put there; one
    that names none is for whoever works on the run at that moment. `seconds` is how long whoever wishes can wait, 0
    where he does not say; `limit` is whether the job's whole time is over, which its next start has no more of.
    """

    kind: Kind
    at: str
    why: str = ""
    job: str = ""
    restart: int | None = None
    seconds: float = 0.0
    limit: bool = False


def of_job(path: Path, job: str) -> Path:
    """Return where a wish for one job of a run lies: two jobs of it may reach their limits in the same second."""
    return path.with_name(f"{path.name}.{job}")


def wish(
    path: Path,
    kind: Kind,
    why: str,
    *,
    job: str = "",
    restart: int | None = None,
    seconds: float = 0.0,
    limit: bool = False,
) -> None:
    """Put the wish into a run (RunPaths.stop_wish)."""
    facts = vars(Wish(kind, now(), why, job, restart, seconds, limit))
    write_atomic(path, json.dumps(facts, ensure_ascii=False) + "\n")


def read_wish(path: Path) -> Wish | None:
    """Return the wish that lies there; None where none does, or half of one."""
    try:
        return wish_of(path.read_bytes())
    except OSError:
        return None


def wish_of(text: bytes) -> Wish | None:
    """Return the wish that a file holds; None where it holds none, or half of one."""
    try:
        found = parse_json(text)
    except ValueError:
        return None
    if not isinstance(found, Mapping) or found.get("kind") not in ("later", "stop"):
        return None
    restart, seconds = found.get("restart"), found.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= _MOST_S:  # so are NaN and a number of 400 digits
        seconds = 0.0
    return Wish(
        found["kind"],
        str(found.get("at", "")),
        str(found.get("why", "")),
        str(found.get("job", "")),
        restart if isinstance(restart, int) else None,
        float(seconds),
        found.get("limit") is True,
    )


def forget(path: Path) -> None:
    """Remove a wish: it was heeded, or was meant for whoever worked before."""
    path.unlink(missing_ok=True)
