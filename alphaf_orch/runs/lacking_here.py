"""What a plan lacks on the machine it is for, told before anything is launched: weights, data, GPUs, disk, tools."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import cache_dir
from alphaf_orch.inputs.sources import Source
from alphaf_orch.inputs.weights import require_weights, weights_state
from alphaf_orch.planning.circumstances import installed_versions
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.expected import disk_left
from alphaf_orch.runs.machine.checks import require
from alphaf_orch.runs.machine.room import rooms
from alphaf_orch.runs.preflight import check_all_gpus, lacking
from alphaf_orch.runs.status import Status


def lacks(plan: Plan, machine: Machine, found: Sequence[Status], *, tools_here: bool = True) -> tuple[str, ...]:
    """Return in words what a launch of the stages to do would be refused for, and what to do; starts no program.

    Where the tools are another machine's, they and its GPUs' number are not looked at here.
    """
    pending = [status.stage for status in found if status.to_do]
    if not pending:
        return ()
    told = [_refusal(lambda: _weights(plan)), _refusal(lambda: require(rooms(disk_left(plan, pending), "the run")))]
    if tools_here:
        told += [_refusal(lambda: check_all_gpus(plan, machine, pending)), *_tools(pending)]
    return tuple(dict.fromkeys(filter(None, [*told, *_data(plan)])))


def _refusal(check: Callable[[], object]) -> str:
    try:
        check()
    except AlphafError as error:
        return f"{error.what}\n  next:  {error.fix}"
    return ""


def _weights(plan: Plan) -> None:
    state = weights_state(plan.preset, cache_dir() / "models", os.environ)
    require_weights(plan.preset, state, os.environ, online=any(stage.kind == "prepare" for stage in plan.stages))


def _data(plan: Plan) -> list[str]:
    sources: list[Source] = [source for found in plan.sources.values() for source in found]
    return [f"{each.path} is not on this machine: --online fetches it" for each in sources if each.format is None]


def _tools(pending: Sequence[Stage]) -> list[str]:
    told = []
    for python, tool in dict.fromkeys((stage.argv[0], stage.tool) for stage in pending):
        installed = installed_versions(python)  # of an environment that is laid out otherwise nothing is known
        missing = lacking(tool, installed) if installed else []
        if missing:
            told.append(
                f"{', '.join(missing)} is not installed beside {python}: `make setup`, or `tools:` in the config"
            )
    return told
