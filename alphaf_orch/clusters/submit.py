"""Jobs handed to a scheduler, in order, each after what it waits for: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.scheduler import Place, Scheduler
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile


def submit_jobs(
    jobs: Sequence[Job],
    profile: Profile,
    scheduler: Scheduler,
    paths_of: Callable[[str], RunPaths],
    place: Place,
    say: Callable[[str], None],
    *,
    on: str = "",
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write each job's file and record, hand it over, and return the ids by the jobs' keys.

    `paths_of` gives the paths of what a job's `run` names; `known` are ids, by key, of jobs handed over before that
    these may wait for; `on` is what `--on` said. Where one is refused, those of this call are taken back and their
    files too: raises the scheduler's ToolError, saying so.
    """
    raise NotImplementedError


def live_jobs(paths: RunPaths, scheduler: Scheduler) -> dict[str, str]:
    """Return the ids, by name, of the run's jobs that wait or run, as the scheduler says in one call.

    Raises ToolError where it does not answer.
    """
    raise NotImplementedError
