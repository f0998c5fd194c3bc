"""A job as a frozen value: a call of `alphaf` on a machine of the site's, what it needs, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from alphaf_orch.settings.clusters import Role


@dataclass(frozen=True)
class Needs:
    """What a job asks the scheduler for: machines, and GPUs of each; the rest is the profile's, by role."""

    role: Role
    gpus: int = 0
    nodes: int = 1


@dataclass(frozen=True)
class Job:
    """One job: started once on each of its machines, as `alphaf job RUN NAME`; what that does stands in its record.

    It makes `stage`, or else calls `alphaf` with `argv`. `run` is a run, an arm (EXPERIMENT/ARM) or an experiment;
    `name` is unique in it and names the job's files: that of the stage where it makes one, else what it does
    (`eval-finance-ko`, `report`). `after` are jobs that must have succeeded before it starts, `behind` jobs that must
    have ended, however; both by key. `planned` is what its stage was planned with (chain.planned), `reads` what the
    run's settings name that lies here (chain.named_here): a container has to be given it.
    """

    run: str
    name: str
    needs: Needs
    stage: str | None = None
    argv: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    planned: Mapping[str, Any] = field(default_factory=dict, hash=False)
    reads: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What the jobs of one submission know each other by."""
        return f"{self.run}:{self.name}"

    @property
    def waits(self) -> tuple[str, ...]:
        """What has to end before it starts, by key."""
        return (*self.after, *self.behind)


class Waiting(Protocol):
    """What waits for others of its kind, by key: a job, or a pipeline of several."""

    @property
    def key(self) -> str:
        """What others know it by."""

    @property
    def waits(self) -> tuple[str, ...]:
        """What it waits for."""


W = TypeVar("W", bound=Waiting)


def in_order(every: Sequence[W]) -> tuple[W, ...]:
    """Return them so that each stands behind what it waits for; raise ValueError where they go in a circle."""
    return tuple(each for level in levels(every) for each in level)


def levels(every: Sequence[W]) -> tuple[tuple[W, ...], ...]:
    """Return them in groups that wait for earlier groups alone; raise ValueError where they go in a circle."""
    left, placed, found = list(every), set[str](), list[tuple[W, ...]]()
    known = {each.key for each in every}
    while left:
        ready = tuple(each for each in left if not (set(each.waits) & known) - placed)
        if not ready:
            raise ValueError(f"these wait for each other: {', '.join(each.key for each in left)}")
        found.append(ready)
        placed |= {each.key for each in ready}
        left = [each for each in left if each.key not in placed]
    return tuple(found)
