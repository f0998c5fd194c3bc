"""A scheduler in memory, in Slurm's place: jobs are queued, begin and end when the test says so, every call is counted.

`stand_in(monkeypatch)` has `--on slurm` and all that asks about jobs meet it, in this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.scheduler import JobState, Place
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile


@dataclass(frozen=True)
class Handed:
    """A job as it was handed over."""

    id: str
    job: Job
    script: Path
    after: tuple[str, ...]
    behind: tuple[str, ...]


@dataclass
class FakeScheduler:
    """Says of jobs what the test has it say; `refuses` is the number of the submission that it refuses, from 1."""

    name: str = "slurm"
    told: dict[str, JobState] = field(default_factory=dict)
    handed: dict[str, Handed] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)  # the ids of each call of `states`
    cancelled: list[tuple[str, ...]] = field(default_factory=list)  # and of `cancel`
    refuses: int | None = None
    silent: bool = False
    gone: bool = False
    first: int = 101

    def require(self) -> None:
        if self.gone:
            raise ToolError(
                "there is no sbatch on this machine", where="PATH", fix="submit from a login node", code="tool.x"
            )

    def script(self, job: Job, profile: Profile, paths: RunPaths, place: Place) -> tuple[Path, str]:
        return paths.job_script(job.name, "sbatch"), f"#!/bin/sh\n# {job.key} {job.needs}\n"

    def command(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> tuple[str, ...]:
        return ("sbatch", *(f"after:{each}" for each in after), *(f"behind:{each}" for each in behind), str(script))

    def submit(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> str:
        self._answer()
        if self.refuses == len(self.handed) + 1:
            raise ToolError(
                "sbatch: error: Invalid account or account/partition",
                where=str(script),
                fix="mend it",
                code="tool.job_refused",
            )
        assert script.is_file(), "what is handed over lies there"
        assert {*after, *behind} <= set(self.handed), "what it waits for was handed over before"
        number = str(self.first + len(self.handed))
        self.handed[number] = Handed(number, job, script, tuple(after), tuple(behind))
        self.told[number] = JobState("queued", "Dependency" if after or behind else "Priority")
        return number

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        self.asked.append(tuple(ids))
        self._answer()
        return {each: self.told.get(each, JobState("unknown")) for each in ids}

    def by_script(self, scripts: Sequence[Path]) -> Mapping[Path, str]:
        self._answer()
        open_ones = (each for number, each in self.handed.items() if not self.told[number].over)
        return {each.script: each.id for each in open_ones if each.script in scripts}

    def cancel(self, ids: Sequence[str]) -> None:
        self.cancelled.append(tuple(ids))
        self._answer()
        for each in ids:
            if not self.told[each].over:
                self.told[each] = JobState("cancelled", "by user 1000")

    def begin(self, job_id: str, nodes: str = "gpu-1", since: str = "2026-01-02T03:04:05") -> None:
        """Have a job run."""
        self.told[job_id] = replace(self.told[job_id], state="running", reason="", nodes=nodes, since=since)

    def end(self, job_id: str, exit_code: int = 0, reason: str = "") -> None:
        """Have a job end, and those wait no more that waited for its success in vain."""
        good = not exit_code and not reason
        words = reason or ("" if good else f"exit code {exit_code}")
        state = replace(self.told[job_id], state="done" if good else "failed", reason=words, exit_code=exit_code)
        self.told[job_id] = state
        for each in self.handed.values():
            if not good and job_id in each.after and not self.told[each.id].over:
                self.end(each.id, 1, "DependencyNeverSatisfied")

    def _answer(self) -> None:
        if self.silent:
            raise ToolError("slurm does not answer", where="squeue", fix="ask again later", code="tool.no_answer")


def stand_in(monkeypatch: pytest.MonkeyPatch, scheduler: FakeScheduler | None = None) -> FakeScheduler:
    """Put a scheduler in Slurm's place and return it."""
    made = scheduler or FakeScheduler()
    monkeypatch.setattr("alphaf_orch.clusters.submit.AT_ONCE", 1)  # ids in the order of the jobs
    monkeypatch.setattr("alphaf_orch.clusters.slurm.scheduler.Slurm", lambda: made)
    return made
