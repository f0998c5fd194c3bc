"""What a scheduler answers to: a job's file, handing it over, what became of it, and taking it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

State = Literal["queued", "running", "requeued", "done", "failed", "cancelled", "unknown"]


@dataclass(frozen=True)
class JobState:
    """What a scheduler says of a job.

    `requeued` waits again, having run before. `reason` is the scheduler's own word where it says one: why a job waits
    (Priority, Dependency), how it failed (OUT_OF_MEMORY, TIMEOUT, NODE_FAIL, PREEMPTED, DependencyNeverSatisfied,
    `exit code 7`), by whom it was cancelled (`by kim`). `since` is when it came into that state, in UTC as records have
    it, empty where that is not known; `unknown` is a job that the scheduler no longer, or never, heard of.
    """

    state: State
    reason: str = ""
    nodes: str = ""
    since: str = ""
    restarts: int = 0
    exit_code: int | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will happen to the job any more."""
        return self.state in ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Place:
    """What a job finds on its machines as it was where it was submitted: settled then, and written into its file."""

    python: str  # that imports alphaf_orch
    folder: str  # that the job is started in: relative paths of the user's settings mean what they meant
    env: Mapping[str, str] = field(default_factory=dict)  # ALPHAF_RUNS, HF_HOME ...: no secrets
    templates: tuple[Path, ...] = ()  # folders to look for the template in; none: those of every run


class Scheduler(Protocol):
    """A site's scheduler, by its own commands."""

    name: str

    def require(self) -> None:
        """Raise ToolError where its commands are not on this machine; nothing is asked of it."""

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """Return what the scheduler says of each job, in one call of it; of one that has left the queue, in another.

        Every id is answered, `unknown` where the scheduler has forgotten it; none where nobody is asked. Raises
        ToolError where it is not there or does not answer within seconds: callers go by the run's files then, and say
        so.
        """

    def cancel(self, ids: Sequence[str]) -> None:
        """Ask the scheduler to end the jobs, in one call; one that is over already is no error. Raises ToolError."""


class Single(Scheduler, Protocol):
    """A scheduler that is given one job at a time."""

    def script(self, job: Job, profile: Profile, paths: RunPaths, place: Place) -> tuple[Path, str]:
        """Return the file that the scheduler is given, and where it belongs; nothing is written or asked.

        Raises ConfigError for what the scheduler could not take: a time limit or a path that it would misread.
        """

    def command(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> tuple[str, ...]:
        """Return what hands the job over, as a person types it; `after` and `behind` are ids, or names for them."""

    def submit(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> str:
        """Hand the job over and return its id, which is the scheduler's alone to read.

        `after` are ids of jobs that must have succeeded, `behind` of jobs that must have ended. Raises ToolError in the
        scheduler's own words where it refuses, where it is not there, or does not answer.
        """


@runtime_checkable
class Searched(Protocol):
    """A scheduler whose queue tells which file a job was given as: one whose id was lost is found again by it."""

    def by_script(self, scripts: Sequence[Path]) -> Mapping[Path, str]:
        """Return the ids of the user's jobs that wait or run, by those of the files that they were handed over as.

        One call of the scheduler. Raises ToolError as `states` does.
        """
