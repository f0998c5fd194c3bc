"""SkyPilot's own commands: `sky jobs launch`, `queue` and `cancel`, its usage collection off in each of them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alphaf_orch.clusters.clouds.pipelines import Pipeline, pipelines
from alphaf_orch.clusters.clouds.skypilot import QUIET, command, pipeline_file, pipeline_name
from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.pipelined import File
from alphaf_orch.clusters.scheduler import JobState, Place, State
from alphaf_orch.core.command import Answer, answer, printable
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

# The first call starts SkyPilot's API server, and launching asks the clouds what they have; ours.
_LOOK_S, _SUBMIT_S = 60.0, 600.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NONE = "No in-progress managed jobs"  # how 0.14.1 says that the machine which looks after jobs is not up
_ID = re.compile(r"Managed Job ID: (\d+)")
# sky/jobs/state.py, ManagedJobStatus; every FAILED_... is a failure, and its own reason.
_STATES: Mapping[str, State] = {
    "PENDING": "queued", "SUBMITTED": "queued", "STARTING": "queued", "RUNNING": "running", "WINDING_DOWN": "running",
    "RECOVERING": "requeued", "SUCCEEDED": "done", "CANCELLING": "cancelled", "CANCELLED": "cancelled",
}  # fmt: skip


class SkyPilot:
    """SkyPilot as its `sky` is found on the PATH; an id is `17.2`: a managed job, and which of its tasks."""

    name = "skypilot"
    submits = True

    def require(self) -> None:
        """Raise ToolError where there is no `sky` on the PATH."""
        if shutil.which("sky") is None:
            raise _not_here()

    def files(
        self, jobs: Sequence[Job], profile: Profile, paths_of: Callable[[str], RunPaths], place: Place
    ) -> tuple[File, ...]:
        """Return a pipeline's file for each run, behind those that it waits for."""
        return tuple(_file(pipeline, profile, paths_of(pipeline.run), place) for pipeline in pipelines(jobs))

    def hand_over(self, file: File) -> Mapping[str, str]:
        """Launch a pipeline and return the ids of its tasks; raise ToolError in SkyPilot's words where it refuses."""
        found = _called(file.command, _SUBMIT_S)
        number = _ID.search(_plain(found.output))
        if found.exit_code or not number:
            raise ToolError(
                f"SkyPilot did not take {file.name}: {_in_words(found)}",
                where=str(file.path),
                fix="mend what it names, in the profile's `skypilot:` or by `sky check`, and call this again",
                code="tool.job_refused",
            )
        return {job.key: f"{number[1]}.{task}" for task, job in enumerate(file.jobs)}

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """Return what `sky jobs queue` says of the tasks, in one call for all."""
        found = _called(("sky", "jobs", "queue", "--all", "--output", "json"), _LOOK_S)
        known = {f"{task.get('job_id')}.{task.get('task_id')}": _state(task) for task in _tasks(found)}
        return {name: known.get(name, JobState("unknown")) for name in ids}

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel the managed jobs that the tasks are part of, whole."""
        jobs = dict.fromkeys(name.partition(".")[0] for name in ids)
        if jobs:
            found = _called(("sky", "jobs", "cancel", "--yes", *jobs), _SUBMIT_S)
            if found.exit_code:
                raise ToolError(
                    f"SkyPilot did not cancel {', '.join(jobs)}: {_in_words(found)}",
                    where="sky jobs cancel",
                    fix="look at them by `sky jobs queue`",
                    code="tool.cancel_refused",
                )


def _file(pipeline: Pipeline, profile: Profile, paths: RunPaths, place: Place) -> File:
    path, text = pipeline_file(pipeline, profile, paths, place)
    call = command(path, pipeline_name(pipeline), profile.env)
    return File(path, text, pipeline.jobs, call, pipeline.behind)


def _called(argv: Sequence[str], seconds: float) -> Answer:
    found = answer(argv, env={**os.environ, **QUIET, "NO_COLOR": "1"}, timeout=seconds)
    if found.exit_code == 127 and not found.output:
        raise _not_here()
    if found.exit_code is None:
        raise ToolError(
            f"SkyPilot did not answer within {seconds:.0f} seconds",
            where=printable(argv)[:300],
            fix="try again when `sky api info` answers",
            code="tool.no_answer",
        )
    return found


def _not_here() -> ToolError:
    return ToolError(
        "there is no sky here",
        where="the PATH",
        fix="call alphaf where SkyPilot is installed and set up (`sky check`); --dry-run shows the files without it",
        code="tool.not_installed",
    )


def _plain(text: str) -> str:
    return _COLOURS.sub("", text)


def _in_words(found: Answer) -> str:
    said = _plain(found.errors).strip() or _plain(found.output)  # progress goes to the latter
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " / ".join(dict.fromkeys(lines[-3:])) or f"it ended with code {found.exit_code}"


def _tasks(found: Answer) -> list[Mapping[str, Any]]:
    if _NONE in found.errors + found.output:
        return []
    try:
        tasks = json.loads(found.output[found.output.index("[") :]) if not found.exit_code else None
    except ValueError:
        tasks = None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ToolError(
            f"SkyPilot does not say how its jobs stand: {_in_words(found)}",
            where="sky jobs queue --all --output json",
            fix="try again when `sky jobs queue` answers",
            code="tool.answer_unreadable",
        )
    return tasks


def _state(task: Mapping[str, Any]) -> JobState:
    status = str(task.get("status", ""))
    state: State = _STATES.get(status, "failed" if status.startswith("FAILED") else "unknown")
    restarts = task.get("recovery_count")
    return JobState(state, status, restarts=restarts if isinstance(restarts, int) else 0)
