"""Schedulers that are given several jobs in one file, each behind the one before it: SkyPilot's, and JobSets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.scheduler import Place, Scheduler, Single
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile


@dataclass(frozen=True)
class File:
    """What is handed over at once: its jobs in order, and the call that does it, as a person types it.

    `behind` are jobs of other files, by key, that have to be over before; `waits` calls that wait for them, where
    whoever hands the file over has to.
    """

    path: Path
    text: str
    jobs: tuple[Job, ...]
    command: tuple[str, ...]
    behind: tuple[str, ...] = ()
    waits: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """What is said of it: the run and what is in it."""
        return f"{self.jobs[0].run}: {', '.join(job.name for job in self.jobs)}"


@runtime_checkable
class Pipelined(Scheduler, Protocol):
    """A scheduler that is given whole pipelines."""

    submits: bool  # False where the files are written, and handed over by whoever reads that

    def files(
        self, jobs: Sequence[Job], profile: Profile, paths_of: Callable[[str], RunPaths], place: Place
    ) -> tuple[File, ...]:
        """Return every file, one behind another as it may be handed over; nothing is written or asked.

        Raises ConfigError for what the scheduler could not take.
        """

    def hand_over(self, file: File) -> Mapping[str, str]:
        """Hand a file over that lies there, and return the ids of its jobs by key. Raises ToolError."""


AnyScheduler = Single | Pipelined


def ready(
    files: Sequence[File], scheduler: Pipelined, known: Mapping[str, str]
) -> tuple[tuple[File, ...], tuple[File, ...]]:
    """Return the files to write now, and those that wait: for others of these, or for what is under way."""
    if not scheduler.submits:
        return tuple(files), ()
    open_ones = {*known, *(job.key for file in files for job in file.jobs)}
    now = tuple(file for file in files if not open_ones & set(file.behind))
    return now, tuple(file for file in files if file not in now)


def files_of(
    jobs: Sequence[Job], profile: Profile, scheduler: AnyScheduler, paths_of: Callable[[str], RunPaths], place: Place
) -> tuple[File, ...]:
    """Return every file that a scheduler would be given, with the call that would hand it over; jobs are named there.

    Raises ConfigError for what it could not take.
    """
    if isinstance(scheduler, Pipelined):
        return scheduler.files(jobs, profile, paths_of, place)
    found = []
    for job in jobs:
        path, text = scheduler.script(job, profile, paths_of(job.run), place)
        after, behind = ([key.removeprefix(f"{job.run}:") for key in keys] for keys in (job.after, job.behind))
        found.append(File(path, text, (job,), scheduler.command(path, job, after, behind)))
    return tuple(found)
