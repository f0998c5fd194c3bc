"""Submits an experiment: each arm's jobs that are neither done nor under way, and the report behind all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from rich.console import Console

from alphaf_orch.clusters.chain import check_fits, named_here, needs_of, planned
from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.pipelined import Pipelined
from alphaf_orch.clusters.reasons import NEVER
from alphaf_orch.clusters.submit import AT_ONCE, Live, live_jobs
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import now, read_manifest, write_atomic, write_with_copy
from alphaf_orch.experiments.experiment import (
    Arm,
    Experiment,
    ExperimentPaths,
    Outcome,
    read_record,
    working_on,
    write_record,
)
from alphaf_orch.experiments.jobs import Shared, fresh_jobs, last_of_all
from alphaf_orch.experiments.lacking import Anyway, arm_works, require_tasks
from alphaf_orch.experiments.plan import plan_arms
from alphaf_orch.experiments.prepare import cannot_start, prepare
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.head import code_here, write_head
from alphaf_orch.runs.jobs import with_arms
from alphaf_orch.runs.preflight import check_machine
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.runner import locked
from alphaf_orch.runs.submission import Site
from alphaf_orch.settings.clusters import On
from alphaf_orch.settings.config import dump_config

REPORT = "report"


@dataclass(frozen=True)
class Beside:
    """What is asked beside the arms: jobs of the experiment that wait for nothing, and an arm's, however it ended."""

    own: tuple[Job, ...] = ()
    anyway: Anyway | None = None


@dataclass(frozen=True)
class Wanted:
    """The jobs to submit, who makes what others take over, and which queued jobs are to be taken back before."""

    jobs: tuple[Job, ...]
    shared: Shared = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    stages: Mapping[str, Stage] = field(default_factory=dict)  # that the jobs make, by key


@dataclass(frozen=True)
class Submission:
    """What was submitted, by key, what was under way before and still is, and who cannot start."""

    wanted: Wanted
    ids: Mapping[str, str]
    live: Mapping[str, Live]
    outcomes: Mapping[str, Outcome]


def report_job(experiment: Experiment, language: str) -> Job:
    """Return the job that writes the report of what the arms came to; it needs no GPU."""
    return Job(experiment.name, REPORT, Needs("report"), argv=("report", experiment.name, "--lang", language))


def for_jobs(experiment: Experiment) -> Experiment:
    """Return the experiment whose arms do not say where they run: their jobs are there already."""
    arms = (replace(arm, config=arm.config.model_copy(update={"on": "local"})) for arm in experiment.arms)
    return replace(experiment, arms=tuple(arms))


def wanted_jobs(
    experiment: Experiment,
    paths: ExperimentPaths,
    plans: Mapping[str, Plan],
    site: Site,
    report: Job,
    beside: Beside,
    *,
    parallel: int | None,
    live: Mapping[str, Live],
) -> Wanted:
    """Return the jobs that are to be submitted, each with what its stage was planned with; writes nothing.

    The report is among them where anything comes before it, or where there is none yet. Raises HardwareError for a
    training that the profile's machines have no room for, RunStateError where a job under way has other settings.
    """
    works = arm_works(experiment, paths, plans, beside.anyway)
    stages = {f"{work.run}:{stage.name}": (work.plan, stage) for work in works for stage in work.to_do}
    _refuse_other_settings({key: stage.fingerprint for key, (_, stage) in stages.items()}, live)
    arms = {key: each for key, each in live.items() if key != report.key}
    queued = [key for key, each in arms.items() if not each.runs]
    found, stale = fresh_jobs(works, needs_of, parallel=parallel, live=arms, queued=queued)
    jobs = [replace(job, planned=planned(*stages[job.key])) if job.stage else job for job in found.jobs]
    named = {work.run: named_here(work.plan.config) for work in works}
    jobs = [replace(job, reads=named.get(job.run, ())) for job in jobs]
    check_fits(jobs, site.profile, site.file)
    jobs += [job for job in beside.own if job.key not in live]
    others = [key for key in arms if key not in stale]
    if jobs or (report.key not in live and (others or not paths.page.is_file())):
        jobs.append(last_of_all(report, jobs, others))
        stale |= {report.key} & live.keys()  # it waits for less than there is to come
    return Wanted(tuple(jobs), found.shared, stale, {key: stage for key, (_, stage) in stages.items()})


def _refuse_other_settings(asked: Mapping[str, str], live: Mapping[str, Live]) -> None:
    for key, fingerprint in asked.items():
        under_way = live.get(key)
        if under_way and under_way.record.planned.get("fingerprint") not in (None, fingerprint):
            run, _, name = key.rpartition(":")
            raise RunStateError(
                f"{name} of {run} is under way with other settings: {under_way}",
                where=run,
                fix=f"`alphaf cancel {run}` takes its jobs back; or give the experiment another --name",
                code="run.under_way",
            )


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
    site.scheduler.require()
    plans, lacking = plan_arms(experiment, paths, site, online=online, dry=False)
    for plan in plans.values():
        check_recipe(plan, partial(tell, console), launches=not site.profile.container)
    if site.tools_here:
        require_tasks(experiment)
    created = now()
    with working_on(paths):
        live = _under_way(paths, site)
        write_record(paths, experiment, (), created)
        outcomes = cannot_start(lacking, console) | prepare(experiment, plans, console, verbose=verbose)
        plans = {name: _anew(plan) for name, plan in plans.items() if name not in outcomes}
        wanted = wanted_jobs(experiment, paths, plans, site, report, beside or Beside(), parallel=parallel, live=live)
        _check_here(plans, wanted, site)
        _write_arms(experiment, paths, plans, wanted.jobs, live)
        if wanted.stale:
            site.scheduler.cancel([live[key].record.job_id for key in sorted(wanted.stale)])
        left = {key: each for key, each in live.items() if key not in wanted.stale}
        before = {key: each.record.job_id for key, each in left.items()}
        # Of pipelines it is said what they wait for, and what their user has to type; of single jobs their ids are.
        say = partial(tell, console) if isinstance(site.scheduler, Pipelined) else lambda _: None
        ids = site.submit(wanted.jobs, say, before)
        begun = {job.run for job in wanted.jobs} | {each.record.run for each in left.values()}
        anew = [Outcome(name, "not started") for name in plans if f"{experiment.name}/{name}" in begun]
        write_record(paths, experiment, [*outcomes.values(), *anew], created)
        if ids:
            arms = [f"{experiment.name}/{name}" for name in plans]
            _record(paths, site.on, wanted.shared, arms, {**before, **ids}, parallel)
    return Submission(wanted, ids, left, outcomes)


def _under_way(paths: ExperimentPaths, site: Site) -> dict[str, Live]:
    """Return what is queued or runs; a job that will never begin, for what it waited for failed, is not under way."""
    found = live_jobs(with_arms(paths.root), site.scheduler) if paths.root.is_dir() else {}
    return {key: each for key, each in found.items() if not each.state.reason.startswith(NEVER)}


def _check_here(plans: Mapping[str, Plan], wanted: Wanted, site: Site) -> None:
    """Raise what would stop the jobs and can be seen from here: tools that lack, and a disk without room for an arm."""
    if not site.tools_here:
        return
    seen: set[str] = set()
    for plan in plans.values():
        names = {job.stage for job in wanted.jobs if job.run.endswith(f"/{plan.paths.name}") and job.stage}
        pending = [stage for stage in plan.stages if stage.name in names]
        if pending and plan.preset.name not in seen:  # the arms of a model have the same tools
            seen.add(plan.preset.name)
            check_machine(plan, pending)


def _anew(plan: Plan) -> Plan:
    """Return the plan as it is with what was made or fetched meanwhile."""
    asked = plan.resolved
    return make_plan(asked.config, asked.machine, asked.paths.root, asked.scope) if plan.prepares else plan


def places(paths: ExperimentPaths, run: str) -> RunPaths:
    """Return the folder of an arm (EXPERIMENT/ARM), or of the experiment itself."""
    return RunPaths(paths.root.parent / run)


def _write_arms(
    experiment: Experiment,
    paths: ExperimentPaths,
    plans: Mapping[str, Plan],
    jobs: Sequence[Job],
    live: Collection[str],
) -> None:
    """Write the settings that the jobs of each arm go by; an arm that is at work has its own already."""
    wanted, busy, code = {job.run for job in jobs}, {key.rpartition(":")[0] for key in live}, code_here()

    def write(arm: Arm) -> None:
        run = f"{experiment.name}/{arm.name}"
        plan = plans.get(arm.name)
        write_atomic(paths.settings(arm.name), dump_config(plan.config if plan else arm.config))
        if plan and run in wanted - busy:
            with locked(plan.paths):
                write_head(plan, read_manifest(plan.paths.manifest), code)

    with ThreadPoolExecutor(AT_ONCE) as pool:  # what it costs is the disk's time
        list(pool.map(write, experiment.arms))


def _record(
    paths: ExperimentPaths,
    on: On,
    shared: Shared,
    arms: Sequence[str],
    ids: Mapping[str, str],
    parallel: int | None,
) -> None:
    """Write down in the experiment's record what its arms wait for: by run and name the ids, and who makes what.

    An arm that lacks nothing is there without a job; one that cannot start is not there.
    """
    record = read_record(paths)
    by_run: dict[str, dict[str, str]] = {run: {} for run in arms}
    for key, number in ids.items():
        run, _, name = key.rpartition(":")
        by_run.setdefault(run, {})[name] = number
    said = {"at": now(), "on": str(on), "parallel": parallel, "jobs": by_run, "shared": shared}
    write_with_copy(paths.record, {**record, "submitted": said})
