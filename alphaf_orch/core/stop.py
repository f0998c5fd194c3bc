"""A wish that a run stops, put into its folder: whoever works on the run sees it, on whatever machine that is.

`later` asks a training for a checkpoint and has the job sent back to the queue, `stop` asks for the same and ends it.
A signal does the same for a process that one can reach: SIGUSR1 for `later`, SIGINT and SIGTERM for `stop`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alphaf_orch.core.record import now, read_json, write_atomic

Kind = Literal["later", "stop"]


@dataclass(frozen=True)
class Wish:
    """What is wished, since when, and why, in words: `the time limit of job 12`, `the board`."""

    kind: Kind
    at: str
    why: str = ""


def wish(path: Path, kind: Kind, why: str) -> None:
    """Put the wish into a run (RunPaths.stop_wish)."""
    write_atomic(path, json.dumps(vars(Wish(kind, now(), why)), ensure_ascii=False) + "\n")


def read_wish(path: Path) -> Wish | None:
    """Return the wish that lies there; None where none does, or half of one."""
    try:
        found = read_json(path)
    except OSError:
        return None
    if not isinstance(found, Mapping) or found.get("kind") not in ("later", "stop"):
        return None
    return Wish(found["kind"], str(found.get("at", "")), str(found.get("why", "")))


def forget(path: Path) -> None:
    """Remove a wish: it was heeded, or was meant for whoever worked before."""
    path.unlink(missing_ok=True)
