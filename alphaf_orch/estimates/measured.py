"""What finished stages of this machine took, by what decides it: kept in the cache, and found again.

One line of JSON a stage in `measured.jsonl`: sizes of a model, a few recipe values, the card or processor, versions,
figures and the run's name, which is its model's where no other was said. No path, no text and no name of data is in it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import cache_dir
from alphaf_orch.core.stored import Unreadable, numbered_lines

FORMAT = 2  # of 1 not all that the formulas read was kept
KEPT_LINES = 400  # ours: some hundred bytes each, read in milliseconds with every plan
_ROOM = 100  # lines above that before the oldest go, so that not every stage rewrites the file

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """One finished stage: what was measured under which circumstances."""

    stage: str
    run: str
    at: str  # ISO 8601, UTC
    machine: Facts  # card and GPUs, or processor and cores
    shape: Facts
    strict: Facts  # recipe values of which another one is another kind of training
    scaled: Facts  # recipe values that a formula scales by
    versions: Facts
    got: Facts
    data: Facts = field(default_factory=dict)  # rows and tokens, by a hash of their content

    def same(self, other: Measured) -> bool:
        """Return whether both are of one kind on one machine, with the same versions as far as both know them."""
        both = self.versions.keys() & other.versions.keys()
        return (
            self.near(other)
            and (self.shape, self.scaled, self.machine) == (other.shape, other.scaled, other.machine)
            and all(self.versions[name] == other.versions[name] for name in both)
        )

    def near(self, other: Measured) -> bool:
        """Return whether one can be scaled to the other: what no formula scales by is the same."""
        return (self.stage, self.strict, self.machine.get("card"), self.machine.get("cpu")) == (
            other.stage, other.strict, other.machine.get("card"), other.machine.get("cpu"),
        )  # fmt: skip


def measured_file() -> Path:
    """Return where it is kept: one file of the cache."""
    return cache_dir() / "measured.jsonl"


def read_measured() -> tuple[Measured, ...]:
    """Return what is kept, the oldest first; a file that cannot be read holds nothing, nor does a broken line."""
    try:
        lines = [line for _, line in numbered_lines(measured_file())]
    except (OSError, Unreadable):
        return ()
    return tuple(found for line in lines if (found := _parsed(line)) is not None)


def keep_measured(found: Measured) -> None:
    """Add one stage, whole, whoever else writes; the oldest go where they are many. Raises OSError where it cannot."""
    place = measured_file()
    place.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"format": FORMAT, **asdict(found)}, ensure_ascii=True, separators=(",", ":")) + "\n"
    with place.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        lines = file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):  # cut off by a full disk or a kill
            line = "\n" + line
        file.write(line.encode())
        file.flush()
        if len(lines) > KEPT_LINES + _ROOM:
            kept = b"".join([*lines[-KEPT_LINES:], line.lstrip("\n").encode()])
            os.ftruncate(file.fileno(), 0)  # O_APPEND writes at the end, which is the beginning now
            file.write(kept)


def _parsed(line: bytes) -> Measured | None:
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            return None
        found = Measured(**values)
    except (ValueError, TypeError, RecursionError):  # cut off, or of another version
        return None
    facts = (found.machine, found.shape, found.strict, found.scaled, found.versions, found.got, found.data)
    return found if all(isinstance(value, dict) for value in facts) else None


def matches(asked: Measured, kept: Sequence[Measured]) -> tuple[list[Measured], list[Measured]]:
    """Return what was measured under the same circumstances, and what is near and not the same; the newest first."""
    near = [one for one in reversed(kept) if one.near(asked)]
    return [one for one in near if one.same(asked)], [one for one in near if not one.same(asked)]
