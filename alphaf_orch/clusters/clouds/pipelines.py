"""Which jobs one file holds: those of a run, one behind the other, apart from those that other runs wait for.

SkyPilot's pipelines and JobSets know jobs behind jobs, but nothing of each other: what waits for another pipeline is
handed over when that one has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alphaf_orch.clusters.jobs import Job, in_order

_Part = tuple[str, bool]  # a run, and whether other runs wait for it


@dataclass(frozen=True)
class Pipeline:
    """Jobs of one run, each behind the one before it.

    `behind` are jobs of others (by key) to be over before it starts, `waits` the pipelines here that hold them.
    """

    run: str
    name: str  # of its file in the run's jobs/
    jobs: tuple[Job, ...]
    behind: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What the pipelines of one submission know each other by."""
        return f"{self.run}:{self.name}"


def pipelines(jobs: Sequence[Job]) -> tuple[Pipeline, ...]:
    """Return the jobs as pipelines, each behind those that it waits for.

    What a run waits for of another one (`after`) comes with all that it needs in a pipeline `shared` of its own. Raises
    ValueError where pipelines would wait for each other: never where runs wait for runs that stand before them.
    """
    ordered = in_order(jobs)
    shared = _awaited(ordered)
    parts: dict[_Part, list[Job]] = {}
    for job in ordered:
        parts.setdefault((job.run, job.key in shared), []).append(job)
    part_of = {job.key: part for part, members in parts.items() for job in members}
    names = {part: _name(part, members) for part, members in parts.items()}
    found = []
    for part, members in parts.items():
        behind = tuple(key for key in _needed(members) if part_of.get(key) != part)
        waits = dict.fromkeys(f"{run}:{names[run, of_all]}" for run, of_all in _parts(behind, part_of))
        found.append(Pipeline(part[0], names[part], tuple(members), behind, tuple(waits)))
    return in_order(found)


def _awaited(ordered: Sequence[Job]) -> set[str]:
    """Return the keys of what jobs of other runs need, and of all that those jobs need."""
    by_key = {job.key: job for job in ordered}
    needed = {key for job in ordered for key in job.after if key in by_key and by_key[key].run != job.run}
    for job in reversed(ordered):  # whatever a job needs stands before it
        if job.key in needed:
            needed |= {key for key in job.after if key in by_key}
    return needed


def _needed(members: Sequence[Job]) -> list[str]:
    return list(dict.fromkeys(key for job in members for key in job.waits))


def _parts(keys: Sequence[str], part_of: Mapping[str, _Part]) -> list[_Part]:
    return [part_of[key] for key in keys if key in part_of]


def _name(part: _Part, members: Sequence[Job]) -> str:
    if len(members) == 1:
        return members[0].name
    return "shared" if part[1] else "chain"
