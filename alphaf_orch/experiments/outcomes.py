"""How the arms of an experiment ended that were submitted: told from the manifests and what became of each job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphaf_orch.clusters.submitted import read_events
from alphaf_orch.core.errors import Interrupted, StageError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.experiments.experiment import Arm, Experiment, ExperimentPaths, Outcome, State, read_record
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.runs.jobs import Told
from alphaf_orch.runs.standing import Standing

_FAILED = StageError.exit_code


def read_outcomes(experiment: Experiment, paths: ExperimentPaths, told: Told) -> tuple[Outcome, ...]:
    """Return how each arm ended, in order: the first of its jobs that did not end well says how and why.

    An arm that was not submitted ended as the record has it; one whose stages were made meanwhile in another way is
    done.
    """
    record = read_record(paths)
    jobs = record.get("submitted", {}).get("jobs", {})
    before = {arm["name"]: arm for arm in record.get("arms", ())}
    return tuple(
        _outcome(arm, paths.arm(arm.name), experiment, jobs, told, before.get(arm.name, {})) for arm in experiment.arms
    )


def _outcome(
    arm: Arm,
    run: RunPaths,
    experiment: Experiment,
    jobs: Mapping[str, Mapping[str, str]],
    told: Told,
    before: Mapping[str, Any],
) -> Outcome:
    stages = read_manifest(run.manifest)["stages"] if run.manifest.is_file() else {}
    last = stages.get(stage_name("merge", experiment.sections[-1]), {})
    own = jobs.get(f"{experiment.name}/{arm.name}", {})
    seconds = sum(entry.get("seconds") or 0.0 for entry in stages.values() if "shared_from" not in entry)
    standings = [each for each in told.standings.get(run, ()) if own.get(each.job.name) == each.job_id]
    wrong = next((each for each in standings if not _well(each, stages)), None)
    if wrong is not None:
        state: State = "interrupted" if wrong.state in ("cancelled", "interrupted") else "failed"
        code = wrong.exit_code or (Interrupted.exit_code if state == "interrupted" else _FAILED)
        return Outcome(arm.name, state, code, seconds, _why(wrong, run, stages))
    if last.get("state") == "done":
        return Outcome(arm.name, "done", 0, seconds)
    if not own and before.get("state") in ("failed", "interrupted"):
        return Outcome(arm.name, before["state"], before["exit_code"], seconds, before["error"])
    return Outcome(arm.name, "not started", 0, seconds, "its stages are not done, and no job of them is known")


def _well(found: Standing, stages: Mapping[str, Any]) -> bool:
    made = found.job.stage is not None and stages.get(found.job.stage, {}).get("state") == "done"
    return made or found.state == "done"


def _why(found: Standing, run: RunPaths, stages: Mapping[str, Any]) -> str:
    """Return in one line what went wrong with a job: the stage's own words, what alphaf said in it, the scheduler's."""
    name = f"{found.job.name} (job {found.job_id})"
    said = stages.get(found.job.stage or "", {}).get("error") if found.state == "failed" else ""
    ended = next((event.why for event in reversed(read_events(run, found.job.name)) if event.why), "")
    words: Sequence[str] = [each for each in (found.reason, said or found.why or ended) if each]
    return f"{name} {found.state}{': ' if words else ''}{', '.join(words)}"
