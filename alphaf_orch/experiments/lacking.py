"""What the arms of an experiment still lack, read from their folders once: for jobs, which are planned from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.core.command import child_env
from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.record import read_manifest
from alphaf_orch.evaluation.options import EvalOptions, suites_asked
from alphaf_orch.evaluation.request import known_results, pending_work, plan_evaluation
from alphaf_orch.evaluation.tasks.suites import find_tasks, require_data, select_tasks
from alphaf_orch.experiments.experiment import Arm, Experiment, ExperimentPaths, slug
from alphaf_orch.experiments.jobs import ArmWork
from alphaf_orch.planning.base import tool_python
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.damage import refuse
from alphaf_orch.runs.status import Status, safe_statuses

# What an arm is asked however far it came, by arm, plan, and whether stages of it are still to be made.
Anyway = Callable[[Arm, Plan, bool], tuple[Job, ...]]
Donors = Mapping[str, Sequence[RunPaths]]  # by fingerprint, the arms that have finished the stage


def arm_works(
    experiment: Experiment,
    paths: ExperimentPaths,
    plans: Mapping[str, Plan],
    anyway: Anyway | None = None,
) -> tuple[ArmWork, ...]:
    """Return what each planned arm lacks; reads manifests and looks at folders, starts and writes nothing.

    Raises RunStateError for an arm whose finished stages were made from other settings.
    """
    manifests = {arm.name: read_manifest(paths.arm(arm.name).manifest) for arm in experiment.arms if arm.name in plans}
    found = {name: _lacking(plans[name], manifest) for name, manifest in manifests.items()}
    donors = _donors(paths, found, manifests)
    works = []
    for arm in experiment.arms:
        if arm.name not in plans:
            continue
        lacking, plan = found[arm.name], plans[arm.name]
        to_do = tuple(status.stage for status in lacking)
        begun = frozenset(status.stage.name for status in lacking if _begun(status))
        there = frozenset(stage.name for stage in to_do if _donor(stage, plan.paths, donors))
        asks = tuple(
            job
            for job, request in zip(evaluations(experiment, arm, plan), experiment.evaluations, strict=True)
            if to_do or _unscored(plan.paths, request, plan.resolved.machine)
        )
        run = f"{experiment.name}/{arm.name}"
        more = anyway(arm, plan, bool(to_do)) if anyway else ()
        works.append(ArmWork(run, plan, to_do, begun, there, asks, more))
    return tuple(works)


def evaluations(experiment: Experiment, arm: Arm, plan: Plan) -> list[Job]:
    """Return the jobs that evaluate an arm; each on one GPU, where it was trained on GPUs."""
    run, found = f"{experiment.name}/{arm.name}", list[Job]()
    for request in experiment.evaluations:
        asked = "-".join((*suites_asked(request), *request.tasks))
        name = slug(f"eval-{asked}")
        gpus = request.gpus if request.gpus is not None else min(1, plan.gpus["sft"])
        argv = ("eval", "--run", run, *request.argv())
        found.append(Job(run, name, Needs("eval", gpus), argv=argv))
    return found


def require_tasks(experiment: Experiment) -> None:
    """Raise what an evaluation would be refused for behind the trainings: a suite that is none, rows that lack."""
    config, env = experiment.arms[0].config, child_env({}, online=False)
    found = find_tasks(template_folders(config.templates), tool_python(config, "axolotl"), env)
    for request in experiment.evaluations:
        require_data(select_tasks(found, suites_asked(request), request.tasks), env)


def _lacking(plan: Plan, manifest: Mapping[str, Any]) -> list[Status]:
    return [status for status in safe_statuses(plan, manifest) if status.to_do and status.stage.kind != "prepare"]


def _begun(status: Status) -> bool:
    """Return whether something of the stage lies in the arm: nothing is laid over it."""
    return status.state == "damaged" or any(path.is_dir() for path in status.stage.outputs)


def _donors(
    paths: ExperimentPaths, lacking: Mapping[str, Sequence[Status]], known: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[RunPaths]]:
    """Return who has finished what, in the order of the names as runs/sharing.py takes them; earlier arms included."""
    found: dict[str, list[RunPaths]] = {}
    for place in sorted(paths.root.glob("*/manifest.json")):
        run = RunPaths(place.parent)
        manifest = known.get(run.root.name) or _readable(place)
        again = {status.stage.name for status in lacking.get(run.root.name, ())}
        for name, entry in manifest.get("stages", {}).items():
            if entry.get("state") == "done" and name not in again:
                found.setdefault(str(entry.get("fingerprint")), []).append(run)
    return found


def _readable(manifest: Path) -> Mapping[str, Any]:
    """Return what is recorded of an arm that is not asked for now; of one that cannot be read nothing is taken over."""
    try:
        return read_manifest(manifest)
    except RunStateError:
        return {}


def _donor(stage: Stage, paths: RunPaths, donors: Donors) -> RunPaths | None:
    for donor in donors.get(stage.fingerprint, ()):
        if donor.root != paths.root and all(donor.counterpart(path, paths).exists() for path in stage.outputs):
            try:
                refuse(donor, [stage.name], "look")
            except RunStateError:
                continue  # its own command says so; here the stage is made anew
            return donor
    return None


def _unscored(paths: RunPaths, request: EvalOptions, machine: Machine) -> bool:
    """Return whether a finished arm has rows that are not asked yet; where that cannot be said, its job will."""
    try:
        evaluation = plan_evaluation(paths, request, machine)
        return bool(pending_work(evaluation, known_results(evaluation)))
    except AlphafError:
        return True
