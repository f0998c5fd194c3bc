"""The plan of an experiment: what of it cannot work, each arm's share of the machine, the order, the commands."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from alphaf_orch.core.errors import AlphafError, ConfigError, ModelError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.record import read_manifest
from alphaf_orch.experiments.experiment import Arm, Experiment, ExperimentPaths, require_same_kind
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.runs.preflight import check_all_gpus
from alphaf_orch.runs.status import safe_statuses
from alphaf_orch.runs.submission import Site

# ours: on a CPU most of a small model's time is the start of the tools, which keeps one core busy
CPU_PARALLEL = 2


@dataclass(frozen=True)
class Slot:
    """What one of the arms that run at the same time may use."""

    devices: tuple[str, ...]
    threads: int | None

    def env(self) -> dict[str, str]:
        """Return the variables that keep an arm to its share of the machine."""
        found = {"CUDA_VISIBLE_DEVICES": ",".join(self.devices)} if self.devices else {}
        if self.threads is not None:
            found["OMP_NUM_THREADS"] = str(self.threads)
        return found


def plan_arms(
    experiment: Experiment, paths: ExperimentPaths, where: Machine | Site, *, online: bool, dry: bool
) -> tuple[dict[str, Plan], dict[str, AlphafError]]:
    """Return the plan of each arm by name, and of those whose model is not here what lacks; starts and writes nothing.

    Raises the error of the first arm whose settings, data or finished stages could not be used: that is the user's to
    mend before anything starts. Where a site's scheduler takes them, an arm may have several machines.
    """
    require_same_kind(paths, experiment)
    here = isinstance(where, Machine)
    if here and any(arm.config.nodes > 1 for arm in experiment.arms):
        raise ConfigError(
            "the arms of an experiment train on one machine each where no scheduler gives them more",
            where="`nodes` of the config",
            fix="leave it out, or say --on slurm; one that needs several here is a run: `alphaf run --nodes N`",
            code="config.not_supported",
        )
    plans: dict[str, Plan] = {}
    lacking: dict[str, AlphafError] = {}
    for arm in experiment.arms:
        root = paths.arm(arm.name).root
        machine = where if isinstance(where, Machine) else where.machine(arm.config)
        try:
            plan = make_plan(arm.config, machine, root, Scope(experiment.sections, online, dry))
        except AlphafError as error:
            if len(experiment.arms) == 1 or not _own_fault(error):
                raise
            lacking[arm.name] = error
            continue
        if not dry:
            if here:
                check_all_gpus(plan, machine, plan.stages)
            if not plan.prepares:
                safe_statuses(plan, read_manifest(plan.paths.manifest))
        plans[arm.name] = plan
    if len(lacking) == len(experiment.arms):
        raise next(iter(lacking.values()))
    return plans, lacking


def _own_fault(error: AlphafError) -> bool:
    """Return whether an error speaks of one arm's model, so that the other arms may go on: its weights are not here."""
    return isinstance(error, ModelError) and not error.what.startswith("no model is called")


def slots(machine: Machine, plans: Mapping[str, Plan], parallel: int | None, arms: int) -> tuple[Slot, ...]:
    """Return the shares of the machine for the arms that run at the same time.

    Raises ConfigError where so many arms do not fit on the GPUs.
    """
    gpus = max(max(plan.gpus.values()) for plan in plans.values())
    if parallel is None:
        parallel = 1 if gpus else min(CPU_PARALLEL, machine.cpus)
    parallel = max(1, min(parallel, arms))
    devices = machine.visible(len(machine.gpus))
    if gpus and parallel > 1 and parallel * gpus > len(devices):
        raise ConfigError(
            f"{parallel} arms of {gpus} GPUs each do not fit on {len(devices)} GPUs",
            where=f"--parallel {parallel}",
            fix=f"use --parallel {max(1, len(devices) // gpus)}, or fewer GPUs for each arm with --gpus",
            code="config.too_many_gpus",
        )
    threads = max(1, machine.cpus // parallel) if parallel > 1 and not gpus else None
    if "OMP_NUM_THREADS" in os.environ:
        threads = None  # the user's own wish
    return tuple(
        Slot(devices[number * gpus : (number + 1) * gpus] if parallel > 1 else (), threads)
        for number in range(parallel)
    )


def starting_order(experiment: Experiment, parallel: int) -> list[Arm]:
    """Return the arms in the order in which they are started.

    One at a time, as they stand: a pair of one seed is soon complete. Several at a time, a variant under all its seeds
    first: arms of one seed share their prepared rows, and the second would wait for the first to make them.
    """
    if parallel == 1:
        return list(experiment.arms)
    return sorted(experiment.arms, key=lambda arm: experiment.variants.index(arm.variant))


def arm_commands(experiment: Experiment, arm: Arm, paths: ExperimentPaths) -> tuple[tuple[str, ...], ...]:
    """Return what `alphaf` is called with for an arm, in order: its training, then each evaluation."""
    run = f"{experiment.name}/{arm.name}"
    train = "run" if "dpo" in experiment.sections else "sft"
    found: list[tuple[str, ...]] = [(train, "--run", run, "--config", str(paths.settings(arm.name)))]
    found += [("eval", "--run", run, *request.argv()) for request in experiment.evaluations]
    return tuple(found)
