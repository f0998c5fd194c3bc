"""Kubernetes as a scheduler that is handed nothing by us: manifests are written, `kubectl apply` is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alphaf_orch.clusters.clouds.kubernetes import apply_command, job_id, job_set_file, wait_command
from alphaf_orch.clusters.clouds.pipelines import Pipeline, pipelines
from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.pipelined import File
from alphaf_orch.clusters.scheduler import JobState, Place
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile


class Kubernetes:
    """JobSets for a cluster that nobody asks; an id is `JOBSET/STAGE`."""

    name = "kubernetes"
    submits = False

    def require(self) -> None:
        """Need nothing: no command is called."""

    def files(
        self, jobs: Sequence[Job], profile: Profile, paths_of: Callable[[str], RunPaths], place: Place
    ) -> tuple[File, ...]:
        """Return a JobSet's manifest for each run, behind those that it waits for."""
        found = pipelines(jobs)
        by_key = {pipeline.key: pipeline for pipeline in found}
        made = []
        for pipeline in found:
            path, text = job_set_file(pipeline, profile, paths_of(pipeline.run), place)
            waits = tuple(wait_command(by_key[key], profile) for key in pipeline.waits)
            made.append(File(path, text, pipeline.jobs, apply_command(path), pipeline.behind, waits))
        return tuple(made)

    def hand_over(self, file: File) -> Mapping[str, str]:
        """Return the ids that the jobs will have when their user has applied the manifest."""
        pipeline = Pipeline(file.jobs[0].run, file.path.name.removesuffix(".jobset.yaml"), file.jobs)
        return {job.key: job_id(pipeline, job) for job in file.jobs}

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:  # noqa: ARG002
        """Return nothing: what a job wrote down of itself says how it stands."""
        return {}

    def cancel(self, ids: Sequence[str]) -> None:
        """Raise ToolError that says what to type, but where there is nothing to cancel."""
        if ids:
            sets = " ".join(dict.fromkeys(name.partition("/")[0] for name in ids))
            raise ToolError(
                "jobs on Kubernetes are taken back by whoever applied them",
                where=", ".join(ids),
                fix=f"kubectl delete jobset {sets}",
                code="tool.not_supported",
            )
