"""Submits an experiment: each arm's jobs that are neither done nor under way, and the report behind all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from alphaf_orch.clusters.chain import needs_of, planned
from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.place import place_here
from alphaf_orch.clusters.scheduler import Scheduler
from alphaf_orch.clusters.submit import live_jobs, submit_jobs
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import now, read_manifest, write_atomic, write_with_copy
from alphaf_orch.experiments.experiment import (
    Experiment,
    ExperimentPaths,
    Outcome,
    read_record,
    working_on,
    write_record,
)
from alphaf_orch.experiments.jobs import Planned, last_of_all, plan_jobs
from alphaf_orch.experiments.lacking import Anyway, arm_works, require_tasks
from alphaf_orch.experiments.plan import plan_arms
from alphaf_orch.experiments.prepare import cannot_start, prepare
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.runs.head import write_head
from alphaf_orch.runs.jobs import with_arms
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.runner import locked
from alphaf_orch.settings.clusters import On, Profile
from alphaf_orch.settings.config import dump_config

REPORT = "report"


@dataclass(frozen=True)
class Site:
    """Where the arms are to run: what `--on` said, the profile behind it, who takes jobs there, and its machines."""

    on: On
    profile: Profile
    scheduler: Scheduler
    machine: Machine


@dataclass(frozen=True)
class Beside:
    """What an experiment asks beside its arms: jobs of its own that wait for nothing, and an arm's, whatever it came to."""

    own: tuple[Job, ...] = ()
    anyway: Anyway | None = None


@dataclass(frozen=True)
class Submission:
    """What was submitted, by key, what was under way before, and who cannot start."""

    planned: Planned
    ids: Mapping[str, str]
    live: Mapping[str, str]
    outcomes: Mapping[str, Outcome]


def report_job(experiment: Experiment, language: str) -> Job:
    """Return the job that writes the report of what the arms came to; it needs no GPU."""
    return Job(experiment.name, REPORT, Needs("report"), argv=("report", experiment.name, "--lang", language))


def for_jobs(experiment: Experiment) -> Experiment:
    """Return the experiment whose arms do not say where they run: their jobs are there already."""
    arms = (replace(arm, config=arm.config.model_copy(update={"on": "local"})) for arm in experiment.arms)
    return replace(experiment, arms=tuple(arms))


def planned_jobs(
    experiment: Experiment,
    paths: ExperimentPaths,
    plans: Mapping[str, Plan],
    site: Site,
    report: Job,
    beside: Beside,
    *,
    parallel: int | None,
    live: Mapping[str, str],
) -> Planned:
    """Return the jobs that are to be submitted, each with what its stage was planned with; writes nothing.

    The report is among them where anything comes before it, or where there is none yet.
    """
    works = arm_works(experiment, paths, plans, site.machine, beside.anyway)
    found = plan_jobs(works, lambda stage, plan: needs_of(plan, stage), parallel=parallel, live=live)
    stages = {f"{work.run}:{stage.name}": (work.plan, stage) for work in works for stage in work.to_do}
    jobs = [replace(job, planned=planned(*stages[job.key])) if job.stage else job for job in found.jobs]
    jobs += [job for job in beside.own if job.key not in live]
    others = [key for key in live if key != report.key]
    if jobs or (report.key not in live and (others or not paths.page.is_file())):
        jobs.append(last_of_all(report, jobs, others))
    return replace(found, jobs=tuple(jobs))


def submit_experiment(
    experiment: Experiment,
    paths: ExperimentPaths,
    site: Site,
    report: Job,
    console: Console,
    beside: Beside | None = None,
    *,
    parallel: int | None = None,
    online: bool = False,
    verbose: bool = False,
) -> Submission:
    """Make what all arms read, then submit what they lack; what is queued or running already is left as it is.

    Raises what `plan_arms` refuses before anything is written, ToolError where the scheduler refuses a job or does not
    say what is under way, RunStateError where another process works on the experiment.
    """
    plans, lacking = plan_arms(experiment, paths, site.machine, online=online, dry=False, jobs=True)
    for plan in plans.values():
        check_recipe(plan, partial(tell, console))
    require_tasks(experiment)
    created = now()
    with working_on(paths):
        live = live_jobs(with_arms(paths.root), site.scheduler) if paths.root.is_dir() else {}
        write_record(paths, experiment, (), created)
        outcomes = cannot_start(lacking, console) | prepare(experiment, plans, console, verbose=verbose)
        plans = {name: _anew(plan) for name, plan in plans.items() if name not in outcomes}
        found = planned_jobs(
            experiment, paths, plans, site, report, beside or Beside(), parallel=parallel, live=live
        )
        _write_arms(experiment, paths, plans, found.jobs, live)
        if report.key in live and any(job.key == report.key for job in found.jobs):
            site.scheduler.cancel((live.pop(report.key),))  # it waits for less than there is to come
        ids = submit_jobs(
            found.jobs, site.profile, site.scheduler, partial(_places, paths), place_here(site.profile),
            lambda _: None, on=str(site.on), known=live,
        )  # fmt: skip
        write_record(paths, experiment, list(outcomes.values()), created)
        if ids or live:
            _record(paths, site.on, found, {**live, **ids}, parallel)
    return Submission(found, ids, live, outcomes)


def _anew(plan: Plan) -> Plan:
    """Return the plan as it is with what was made or fetched meanwhile."""
    asked = plan.resolved
    return make_plan(asked.config, asked.machine, asked.paths.root, asked.scope) if plan.prepares else plan


def _places(paths: ExperimentPaths, run: str) -> RunPaths:
    """Return the folder of an arm (EXPERIMENT/ARM), or of the experiment itself."""
    return RunPaths(paths.root.parent / run)


def _write_arms(
    experiment: Experiment,
    paths: ExperimentPaths,
    plans: Mapping[str, Plan],
    jobs: Sequence[Job],
    live: Mapping[str, str],
) -> None:
    """Write the settings that the jobs of each arm go by; an arm that is at work has its own already."""
    wanted, busy = {job.run for job in jobs}, {key.rpartition(":")[0] for key in live}
    for arm in experiment.arms:
        run = f"{experiment.name}/{arm.name}"
        plan = plans.get(arm.name)
        write_atomic(paths.settings(arm.name), dump_config(plan.config if plan else arm.config))
        if plan and run in wanted - busy:
            with locked(plan.paths):
                write_head(plan, read_manifest(plan.paths.manifest))


def _record(
    paths: ExperimentPaths, on: On, found: Planned, ids: Mapping[str, str], parallel: int | None
) -> None:
    """Write down in the experiment's record what its arms wait for: by run and name the ids, and who makes what."""
    record = read_record(paths)
    by_run: dict[str, dict[str, str]] = {}
    for key, number in ids.items():
        run, _, name = key.rpartition(":")
        by_run.setdefault(run, {})[name] = number
    record["submitted"] = {
        "at": now(),
        "on": str(on),
        "parallel": parallel,
        "jobs": by_run,
        "shared": found.shared,
    }
    write_with_copy(paths.record, record)
