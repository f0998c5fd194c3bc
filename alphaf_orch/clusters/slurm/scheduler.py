"""Slurm by its own commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.scheduler import JobState, Place
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile


class Slurm:
    """Slurm as it is found on the PATH."""

    name = "slurm"

    def script(self, job: Job, profile: Profile, paths: RunPaths, place: Place) -> tuple[Path, str]:
        """Return the sbatch file of a job."""
        raise NotImplementedError

    def command(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> tuple[str, ...]:
        """Return the call of sbatch."""
        raise NotImplementedError

    def submit(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> str:
        """Call sbatch and return the id that it says."""
        raise NotImplementedError

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """Ask squeue, and sacct or scontrol of those that have left the queue."""
        raise NotImplementedError

    def cancel(self, ids: Sequence[str]) -> None:
        """Call scancel."""
        raise NotImplementedError
