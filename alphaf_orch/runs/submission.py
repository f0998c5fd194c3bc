"""A run handed to a site's scheduler: what of it is to do and not under way already, made ready here, submitted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from alphaf_orch.clusters.chain import chain_jobs, check_fits
from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.pipelined import AnyScheduler, files_of
from alphaf_orch.clusters.place import place_here
from alphaf_orch.clusters.profiles import described, load_profile, profile_file
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.clusters.schedulers import scheduler_named
from alphaf_orch.clusters.submit import Live, Say, live_jobs, submit_jobs
from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import RunPaths, cache_dir, template_folders
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.stored import absent, read_text
from alphaf_orch.planning.base import find_preset
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.runs.expected import disk_left
from alphaf_orch.runs.machine.checks import require
from alphaf_orch.runs.machine.room import rooms
from alphaf_orch.runs.preflight import check_machine
from alphaf_orch.runs.ready import ready_plan
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.runner import begin
from alphaf_orch.runs.status import safe_statuses
from alphaf_orch.settings.clusters import On, Profile
from alphaf_orch.settings.config import RunConfig, dump_config
from alphaf_orch.settings.options import submitted_paths


@dataclass(frozen=True)
class Site:
    """Where jobs go: what `--on` said, the profile that it means, and the scheduler."""

    on: On
    profile: Profile
    scheduler: AnyScheduler
    folders: tuple[Path, ...]  # of templates

    @property
    def file(self) -> str:
        """The profile's file, for errors to name."""
        return str(profile_file(self.on, self.folders))

    @property
    def tools_here(self) -> bool:
        """Whether the tools of the jobs are those of this machine; of an image's nothing is to be seen from here."""
        return not (self.profile.container or self.profile.python)

    @property
    def place(self) -> Place:
        """What jobs find on their machines: what is here at this moment."""
        return place_here(self.profile, self.folders)

    def machine(self, config: RunConfig) -> Machine:
        """Return the machine that runs of these settings are planned for."""
        preset = find_preset(config)
        said = config.gpus if config.gpus is not None else 0 if preset.gpus == "auto" else preset.gpus
        return described(self.profile, max(said, config.dpo_gpus or 0))

    def unsaid(self, config: RunConfig) -> str:
        """Return what to say of a run that nobody gives a GPU, though the site may have some; empty otherwise."""
        if self.profile.gpus_per_node is not None or config.gpus is not None or find_preset(config).gpus != "auto":
            return ""
        return (
            "note: neither the profile (gpus_per_node) nor --gpus says how many GPUs there are:"
            f" {config.model} is planned for the processor"
        )

    def submit(self, jobs: Sequence[Job], say: Say, known: Mapping[str, str]) -> dict[str, str]:
        """Hand the jobs over, each after what it waits for, and return their ids by key."""
        with writing(cache_dir()):
            cache_dir().mkdir(parents=True, exist_ok=True)  # a container cannot be given a folder that is not there
        unset = [name for name in self.profile.env if name not in os.environ]
        if unset and jobs:
            say(f"note: {', '.join(unset)}, which the profile's `env` names, is not set here: jobs do not get it")
        return submit_jobs(
            jobs, self.profile, self.scheduler, submitted_paths, self.place, say, on=str(self.on), known=known
        )


@dataclass(frozen=True)
class Handed:
    """What a submission came to: ids by key of what was handed over now, and what was under way before."""

    ids: Mapping[str, str]
    live: Mapping[str, Live]


def find_site(on: On, templates: str | None) -> Site:
    """Return where jobs go; raise ConfigError for a profile that cannot be used. Nothing is asked of the scheduler."""
    folders = template_folders(templates)
    return Site(on, load_profile(on, folders), scheduler_named(on.scheduler), folders)


def run_jobs(plan: Plan, run: str, site: Site) -> tuple[Job, ...]:
    """Return the jobs of what is to do; raise AlphafError for what could not run as planned."""
    found = safe_statuses(plan, read_manifest(plan.paths.manifest))
    jobs = chain_jobs(plan, run, {status.stage.name for status in found if status.to_do})
    check_fits(jobs, site.profile, site.file)
    files_of(jobs, site.profile, site.scheduler, submitted_paths, site.place)  # raises what it could not take
    return jobs


def submit_run(
    config: RunConfig, paths: RunPaths, scope: Scope, run: str, site: Site, console: Console, say: Say, *, verbose: bool
) -> Handed:
    """Submit the stages of the scope that are neither done nor under way; those that all runs share are made here.

    Everything that can be refused is refused before anything is handed over. Raises what planning does, ToolError for
    a scheduler that is not there or refuses a job, RunStateError where jobs under way were submitted otherwise.
    """
    site.scheduler.require()
    plan = make_plan(config, site.machine(config), paths.root, scope)
    jobs = run_jobs(plan, run, site)
    if not jobs:
        return Handed({}, {})
    with held(paths.submission_lock, f"the submission of run {run}", heed=paths.stop_wish):
        plan = ready_plan(plan, console, verbose=verbose, only=())
        jobs, live = run_jobs(plan, run, site), live_jobs([paths], site.scheduler)
        _refuse_other_settings(jobs, live, run)
        jobs = _behind_earlier_stages(jobs, live)
        stale = _behind_what_is_new(jobs, live)
        new = [job for job in jobs if job.key not in live or job.key in stale]
        if new:
            _check_here(plan, [job.stage for job in new], site, console)
            _write_down(plan)
        if stale:
            site.scheduler.cancel([live[key].record.job_id for key in stale])
            for key in stale:
                say(f"{live.pop(key)} is taken back: what it waits for is submitted anew")
        ids = site.submit(new, say, {key: each.record.job_id for key, each in live.items()})
        live = {job.key: live[job.key] for job in jobs if job.key in live}
    return Handed(ids, live)


def coming(paths: RunPaths, stage: str, site: Site) -> str:
    """Return the fingerprint of a stage that a job makes or waits to make; empty where none does."""
    site.scheduler.require()
    found = [each for each in live_jobs([paths], site.scheduler).values() if each.record.stage == stage]
    return str(found[0].record.planned.get("fingerprint", "")) if found else ""


def under_way(paths: RunPaths, site: Site) -> bool:
    """Return whether a job makes a stage of the run, or waits to; raise ToolError where no scheduler is there."""
    site.scheduler.require()
    return any(each.record.stage for each in live_jobs([paths], site.scheduler).values())


def submit_call(paths: RunPaths, job: Job, site: Site, say: Say) -> Handed:
    """Submit a call of `alphaf` on a run, behind what of the run is under way: its stages, and its like.

    The stages have to succeed first. Two evaluations would wait for each other's lock, with a GPU each.
    """
    site.scheduler.require()
    with held(paths.submission_lock, f"the submission of run {job.run}", heed=paths.stop_wish):
        live = live_jobs([paths], site.scheduler)
        if job.key in live:
            return Handed({}, {job.key: live[job.key]})
        known = {key: each.record.job_id for key, each in live.items()}
        after = tuple(key for key, each in live.items() if each.record.stage)
        behind = tuple(key for key, each in live.items() if each.record.role == job.needs.role)
        ids = site.submit([replace(job, after=after, behind=behind)], say, known)
    return Handed(ids, live)


def _refuse_other_settings(jobs: Sequence[Job], live: Mapping[str, Live], run: str) -> None:
    """Raise RunStateError where a job under way makes its stage from other inputs than are asked for now."""
    for job in jobs:
        under_way = live.get(job.key)
        if under_way and under_way.record.planned.get("fingerprint") != job.planned["fingerprint"]:
            raise RunStateError(
                f"{job.name} of run {run} is under way with other settings: {under_way}",
                where=f"--run {run}",
                fix=f"`alphaf cancel {run}` takes its jobs back; or use --run NEW for the new settings",
                code="run.under_way",
            )


def _behind_earlier_stages(jobs: Sequence[Job], live: Mapping[str, Live]) -> tuple[Job, ...]:
    """Return the jobs, the first of them behind jobs under way that make what comes before it: an SFT, for a DPO."""
    if not jobs:
        return ()
    first, order = jobs[0], STAGE_ORDER.index
    earlier = [key for key, each in live.items() if each.record.stage in STAGE_ORDER[: order(str(first.stage))]]
    earlier.sort(key=lambda key: order(str(live[key].record.stage)))
    return (replace(first, after=(*first.after, *earlier)), *jobs[1:])


def _behind_what_is_new(jobs: Sequence[Job], live: Mapping[str, Live]) -> list[str]:
    """Return the queued jobs that stand behind one that is not under way: what they wait for will never be."""
    first = next((number for number, job in enumerate(jobs) if job.key not in live), len(jobs))
    return [job.key for job in jobs[first:] if job.key in live and not live[job.key].runs]


def _check_here(plan: Plan, names: Sequence[str | None], site: Site, console: Console) -> None:
    """Raise what would stop the jobs and can be seen from here: the disk, and the tools where they are these."""
    pending = [stage for stage in plan.stages if stage.name in names]
    if site.tools_here:
        check_machine(plan, pending)
    else:
        require(rooms(disk_left(plan, pending), f"run {plan.paths.full_name}"))
    if any(stage.name == "sft" for stage in pending):
        check_recipe(plan, partial(tell, console), launches=site.tools_here)


def _write_down(plan: Plan) -> None:
    """Write down what the run is, for whoever looks before its first job begins.

    Not where that stands there already: a job that begins this moment would find the run held by us.
    """
    paths = plan.paths
    known = not absent(paths.config) and not absent(paths.manifest)
    if not known or read_text(paths.config) != dump_config(plan.config):
        begin(plan)
