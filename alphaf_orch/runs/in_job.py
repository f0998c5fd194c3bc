"""What a job of a scheduler does: a stage as it was planned where it was submitted, on the devices that are here."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from alphaf_orch.clusters.chain import planned_machine, planned_scope
from alphaf_orch.clusters.submitted import Event, Submitted, happened, note, started
from alphaf_orch.core.cards import look_at_cards
from alphaf_orch.core.errors import AlphafError, GoesOnLater, HardwareError, RunStateError, interruptible
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.heed import heeding
from alphaf_orch.core.nodes import Seat, seat, unknown_rank
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.runs import requeues
from alphaf_orch.runs.chain import run_config
from alphaf_orch.runs.nodes.follower import follow
from alphaf_orch.runs.nodes.seats import led
from alphaf_orch.runs.ready import ready_plan
from alphaf_orch.runs.runner import locked, run_plan
from alphaf_orch.runs.warm import warm_programs
from alphaf_orch.settings.config import RunConfig


def job_seat(record: Submitted) -> Seat | None:
    """Return this machine's seat among those of the job; None where it is its only one.

    Raises ConfigError where nobody says which one this is, and for what contradicts the number of machines.
    """
    if record.nodes == 1:
        return None
    found = seat(record.nodes, os.environ)
    if found.rank is None:
        raise unknown_rank(record.nodes, os.environ)
    return found


@contextmanager
def written_down(paths: RunPaths, record: Submitted, *, first: bool = True) -> Iterator[None]:
    """Write into the job's events that it began, and how what is done inside ended; its `first` machine does so.

    Wishes that it stops or makes room are heeded there from the beginning. Raises GoesOnLater where it made room, and
    RunStateError where it was sent back to the queue too often already, also in the place of that: on all machines, for
    srun ends with the highest of their codes.
    """
    begun = started(paths, record) if first else happened("started")

    def tell(event: Event) -> None:
        if first:
            note(paths, record.name, event)

    tell(begun)
    heeded = heeding(paths.stop_wish) if first else contextlib.nullcontext()
    fix = "what is finished is kept; the same command goes on where it stopped"
    try:
        if begun.restart > record.max_requeues:
            raise too_often(record, begun.restart)
        try:
            with (
                heeded,
                interruptible(f"job {begun.job_id or record.job_id} ({record.name})", paths.root, fix),
            ):
                yield
        except GoesOnLater as error:
            if begun.restart < record.max_requeues:
                tell(happened("requeued", why=error.what))
                raise
            if first and record.stage:
                with contextlib.suppress(RunStateError), locked(paths):  # another one has it already
                    requeues.not_sent_back(paths)
            raise too_often(record, begun.restart, error.what) from None
    except GoesOnLater:
        raise
    except AlphafError as error:
        tell(happened("ended", exit_code=error.exit_code, why=error.what))
        raise
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        tell(happened("ended", exit_code=code))
        raise
    tell(happened("ended", exit_code=0))


def too_often(record: Submitted, restarts: int, why: str = "") -> RunStateError:
    """Return the error of a job that was put back into the queue as often as its profile allows."""
    return RunStateError(
        f"{record.name} was started {restarts + 1} times, and is not put back into the queue again"
        + (f" ({why})" if why else ""),
        where=f"max_requeues: {record.max_requeues} of the profile {record.profile}",
        fix="the last checkpoint is kept: the same command, given again, goes on from it; a longer `time` or a larger"
        " max_requeues in the profile lets a job do more",
        code="run.requeued_in_vain",
    )


def run_stage(paths: RunPaths, record: Submitted, here: Seat | None, machine: Machine, console: Console) -> bool:
    """Make the job's stage, or this machine's part of it where it is not the first one; return whether it is that.

    Raises RunStateError where the run's settings are no longer those that it was submitted with, and what run_plan
    raises.
    """
    assert record.stage is not None
    config = run_config(paths)
    if here and here.rank:
        follow(paths, here, config.node_timeout, machine, console, verbose=False)
        return False
    with led(config, paths, here, console) as leader:
        plan = _as_submitted(config, paths, record, machine)
        _refuse_fewer_gpus(plan, record, machine)
        only = {record.stage}
        with warm_programs(None, config, machine, console):
            plan = ready_plan(plan, console, verbose=False, only=only)
            run_plan(plan, machine, console, verbose=False, leader=leader, only=only)
    return True


def _as_submitted(config: RunConfig, paths: RunPaths, record: Submitted, machine: Machine) -> Plan:
    said = record.planned
    plan = make_plan(config, planned_machine(said, machine), paths.root, planned_scope(said))
    stage = next((stage for stage in plan.stages if stage.name == record.stage), None)
    if stage is None or (stage.fingerprint != said["fingerprint"] and not plan.prepares):
        raise RunStateError(
            f"{record.stage} of run {paths.full_name} would be made from other inputs than those it was submitted with:"
            " the run's settings or its data changed since",
            where=str(paths.config),
            fix="give the command again that submitted it; nothing was changed",
            code="run.other_inputs",
        )
    return plan


def _refuse_fewer_gpus(plan: Plan, record: Submitted, machine: Machine) -> None:
    """Raise HardwareError where the job did not get the GPUs that its training is planned for."""
    stage = next(stage for stage in plan.stages if stage.name == record.stage)
    wanted = plan.gpus[stage.section] if stage.kind == "train" and stage.section else 0
    if wanted <= len(machine.gpus):
        return
    problem = None if machine.gpus else look_at_cards().problem
    raise HardwareError(
        f"{stage.name} is planned for {wanted} GPUs of each machine, and the job has {len(machine.gpus)} on"
        f" {socket.gethostname()}" + (f" (NVML, which counts them: {problem})" if problem else ""),
        where=f"job {happened('started').job_id or record.job_id}; CUDA_VISIBLE_DEVICES is honoured",
        fix=f"look at gres, gpus and extra of the profile {record.profile}, and at what the machine has;"
        " then give the command again that submitted it",
        code="hardware.other_gpus",
    )
