"""How the arms of an experiment ended that were submitted: told from the manifests and what became of each job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaf_orch.clusters.reasons import NEVER
from alphaf_orch.clusters.submitted import read_events
from alphaf_orch.core.errors import Interrupted, StageError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import now, read_manifest
from alphaf_orch.experiments.experiment import (
    Arm,
    Experiment,
    ExperimentPaths,
    Outcome,
    State,
    read_record,
    working_on,
    write_record,
)
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.runs.jobs import Told, ask, with_arms
from alphaf_orch.runs.standing import Standing, of_job
from alphaf_orch.settings.options import submitted_paths

_FAILED = StageError.exit_code
_BESIDE = ("judge",)  # answers that lack are told apart: the arm and its scores are what they are


def record_outcomes(experiment: Experiment, paths: ExperimentPaths) -> tuple[Outcome, ...]:
    """Return how each arm ended, as jobs and manifests have it by now, and write it into the experiment's record.

    Of one that is under way nothing is written but that it has not ended: its jobs say the rest.
    """
    outcomes = read_outcomes(experiment, paths, ask(with_arms(paths.root)))
    with working_on(paths):
        ended = [Outcome(each.arm, "not started") if each.state == "under way" else each for each in outcomes]
        write_record(paths, experiment, ended, now())
    return outcomes


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
    stages = read_manifest(run.manifest)["stages"]
    last = stages.get(stage_name("merge", experiment.sections[-1]), {})
    own = jobs.get(f"{experiment.name}/{arm.name}")
    seconds = sum(entry.get("seconds") or 0.0 for entry in stages.values() if "shared_from" not in entry)
    if own is None and before.get("state") in ("done", "failed", "interrupted"):
        return Outcome(arm.name, before["state"], before["exit_code"], seconds, before["error"], before.get("code", ""))
    known = own or {}
    mine = [each for each in told.standings.get(run, ()) if known.get(each.job.name) == each.job_id]
    standings = [each for each in mine if each.job.role not in _BESIDE]
    wrong = [each for each in standings if not _well(each, stages)]
    if wrong and all(each.open for each in wrong):
        first = max(wrong, key=lambda each: each.state == "running")
        return Outcome(arm.name, "under way", 0, seconds, _why(first))
    wrong = [each for each in wrong if not each.open]
    if wrong:
        first = min(wrong, key=lambda each: each.reason.startswith(NEVER))  # what failed, before what waited for it
        cause = _cause(first, told)
        state: State = "interrupted" if cause.state in ("cancelled", "interrupted") else "failed"
        code = first.exit_code or (Interrupted.exit_code if state == "interrupted" else _FAILED)
        because = "" if cause is first else f"; it needs {cause.job.name} of {cause.job.run}: {_why(cause)}"
        return Outcome(arm.name, state, code, seconds, f"{_why(first)}{because}")
    if last.get("state") == "done":
        return Outcome(arm.name, "done", 0, seconds)
    return Outcome(arm.name, "not started", 0, seconds, "its stages are not done, and no job of them is known")


def _well(found: Standing, stages: Mapping[str, Any]) -> bool:
    made = found.job.stage is not None and stages.get(found.job.stage, {}).get("state") == "done"
    return made or found.state == "done"


def _cause(found: Standing, told: Told) -> Standing:
    """Return the job that did not end well and for which this one never began: itself, where it did begin."""
    known = {each.job_id: each for some in told.standings.values() for each in some}
    while found.reason.startswith(NEVER):
        before = [known[number] for number in found.job.after if number in known and known[number].state != "done"]
        if not before:
            return found
        found = before[0]
    return found


def _why(found: Standing) -> str:
    """Return what went wrong with a job: the scheduler's word, then the stage's own or those of alphaf in it."""
    run = submitted_paths(found.job.run)
    stages = read_manifest(run.manifest)["stages"]
    said = stages.get(found.job.stage or "", {}).get("error") if found.state == "failed" else ""
    mine = () if found.open else of_job(found.job, read_events(run, found.job.name))
    ended = next((event.why for event in reversed(mine) if event.why), "")
    never = found.reason.startswith(NEVER)
    words = [each for each in (found.reason, "" if never else said or found.why or ended) if each]
    return f"{found.job.name} (job {found.job_id}) {found.state}{': ' if words else ''}{', '.join(words)}"
