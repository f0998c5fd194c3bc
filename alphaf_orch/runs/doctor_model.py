"""What `alphaf doctor --model` adds: whether this machine has what a run of that model needs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths, cache_dir
from alphaf_orch.inputs.weights import require_weights, weights_state
from alphaf_orch.planning.base import find_preset
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.expected import disk_left
from alphaf_orch.runs.machine.checks import Check, refused
from alphaf_orch.runs.preflight import check_all_gpus
from alphaf_orch.settings.config import RunConfig


@dataclass(frozen=True)
class ModelFindings:
    """The checks of one model, with what its run needs of the machine: bytes of disk and memory, None if unknown."""

    checks: tuple[Check, ...] = ()
    stages: tuple[Stage, ...] = field(default=())
    disk: int | None = None
    memory: int | None = None


def look_at_model(config: RunConfig, paths: RunPaths, machine: Machine) -> ModelFindings:
    """Return what is to be said of a model and the plan of its run; raises ModelError for one that nobody knows."""
    checks = [_weights(config)]
    try:
        plan = make_plan(config, machine, paths.root, Scope(dry=True, merge=True))
    except AlphafError as error:
        return ModelFindings((*checks, refused("plan", error)))
    stages = ", ".join(stage.name for stage in plan.stages)
    checks.append(Check(name="plan", state="ok", evidence=stages, subject=plan.preset.name))
    try:
        check_all_gpus(plan, machine, plan.stages)
        evidence = ", ".join(f"{section} wants {count}" for section, count in plan.gpus.items())
        checks.append(Check(name="gpus", state="ok", evidence=f"{evidence}; {len(machine.gpus)} GPUs here"))
    except AlphafError as error:
        checks.append(refused("gpus", error))
    disk = sum(disk_left(plan, [stage for stage in plan.stages if stage.kind != "prepare"]).values())
    return ModelFindings(tuple(checks), plan.stages, disk, _memory(plan))


def _weights(config: RunConfig) -> Check:
    preset = find_preset(config)
    state = weights_state(preset, cache_dir() / "models", os.environ)
    try:
        require_weights(preset, state, os.environ, online=False)
    except AlphafError as error:
        return refused("weights", error)
    later = " (made at the first run)" if state.kind == "build" else ", all files whole"
    return Check(name="weights", state="ok", evidence=f"{state.detail}{later}", subject=str(state.path or preset.name))


def _memory(plan: Plan) -> int | None:
    """Return the bytes of main memory that the weights pass through: once whole, as they are read and merged.

    Measured on EEVE's shape (docs/gpu-verification.md): 21.6 GiB for 20.1 GiB of weights. On a CPU, in float32.
    """
    shape = plan.preset.architecture
    if shape is None:
        return None
    return shape.parameters * (2 if plan.gpus["sft"] else 4)
