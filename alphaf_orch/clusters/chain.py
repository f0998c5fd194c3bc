"""From a plan to jobs: one for each stage that is to be made, each behind the one before it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.profiles import granted
from alphaf_orch.core.errors import HardwareError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.settings.clusters import Profile, Role
from alphaf_orch.settings.config import RunConfig

_ROLES: Mapping[str, Role] = {"data": "data", "tokenise": "tokenise", "train": "train", "merge": "merge"}


def chain_jobs(plan: Plan, run: str, to_do: Collection[str]) -> tuple[Job, ...]:
    """Return a job for each stage of the plan that is to do (by name), in order, each after the one before it.

    What all runs share is no job's: whoever submits has made it (runs.ready).
    """
    jobs: list[Job] = []
    for stage in plan.stages:
        if stage.name in to_do and stage.kind in _ROLES:
            jobs.append(stage_job(plan, stage, run, tuple(job.key for job in jobs[-1:])))
    return tuple(jobs)


def stage_job(plan: Plan, stage: Stage, run: str, after: tuple[str, ...] = ()) -> Job:
    """Return the job that makes a stage as it is planned."""
    made_with, reads = planned(plan, stage), named_here(plan.config)
    return Job(run, stage.name, needs_of(stage, plan), stage.name, after=after, planned=made_with, reads=reads)


def needs_of(stage: Stage, plan: Plan) -> Needs:
    """Return what a stage needs: GPUs are a training's alone, whatever else may run beside them."""
    gpus = plan.gpus[stage.section] if stage.kind == "train" and stage.section else 0
    return Needs(_ROLES[stage.kind], gpus, stage.nodes)


def named_here(config: RunConfig) -> tuple[str, ...]:
    """Return the files and folders of this machine that a run's settings name: models, data, templates.

    Not `tools`: inside of a container they are the image's.
    """
    named = (config.model, config.data, config.datasets, config.dpo_data, config.templates)
    texts = _texts((*named, config.sft, config.dpo, config.merge))
    here = {text for text in texts if text.startswith("/") and os.path.exists(text)}  # noqa: PTH110 a text may be too long for one
    return tuple(sorted(here))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def planned(plan: Plan, stage: Stage) -> dict[str, Any]:
    """Return what a job needs to plan its stage as it was planned where it was submitted, as JSON has it."""
    machine = asdict(plan.resolved.machine)
    scope = asdict(replace(plan.resolved.scope, dry=False, online=False))
    return {"machine": machine, "scope": scope, "fingerprint": stage.fingerprint}


def planned_scope(found: Mapping[str, Any]) -> Scope:
    """Return the scope of `planned`."""
    said = {name: found["scope"][name] for name in Scope.__dataclass_fields__ if name in found["scope"]}
    return Scope(**{**said, "sections": tuple(said["sections"])})


def planned_machine(found: Mapping[str, Any], here: Machine) -> Machine:
    """Return the machine to plan with in a job: the cards that it was planned for, the devices and processors here."""
    said = found["machine"]
    return replace(here, memory=said["memory"], card=said["card"] or here.card)


def check_fits(jobs: Sequence[Job], profile: Profile, where: str) -> None:
    """Raise HardwareError where a training wants more GPUs of a machine than the profile has, or gives it."""
    for job in jobs:
        if job.needs.role != "train":
            continue
        wanted, given = job.needs.gpus, granted(profile, job.needs).gpus
        there = profile.gpus_per_node
        if there is not None and wanted > there:
            raise HardwareError(
                f"{job.name} asks for {wanted} GPUs of each machine, and those of the profile have {there}",
                where=f"{where}: gpus_per_node; `gpus` of the model preset or the config",
                fix=f"--gpus {there} keeps the global batch by raising accumulation, or --nodes spreads it over more",
                code="hardware.too_few_gpus",
            )
        if given < wanted:
            raise HardwareError(
                f"{job.name} is planned for {wanted} GPUs of each machine, and the profile gives it {given}",
                where=f"{where}: gpus of stages.train, or of the profile",
                fix=f"take `gpus` out there, or plan for as many: --gpus {given}",
                code="hardware.other_gpus",
            )
