"""Whether a command's programs are forked of a warm parent, which ones it will need, and what is said where not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import get_args

from rich.console import Console

from alphaf_orch.core.command import PROGRAM_ENV, child_env
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.progress import tell
from alphaf_orch.core.warm import begin, kept_warm
from alphaf_orch.planning.base import tool_python
from alphaf_orch.planning.stages import Stage
from alphaf_orch.programs.warm.families import family
from alphaf_orch.settings.config import RunConfig, Tool


def warm_programs(
    wanted: bool | None, config: RunConfig, machine: Machine, console: Console, *, default: bool = False, **env: str
) -> contextlib.AbstractContextManager[None]:
    """Return what keeps warm parents while a command works, doing nothing where programs are to start cold.

    `wanted` is this command's word, before that of the settings and the default. On a machine with GPUs it is said
    and left: a driver's state does not survive a fork. `env` goes over what every program gets.
    """
    on = next(word for word in (wanted, config.warm, default) if word is not None)
    gpus = len(machine.gpus) or max(config.gpus or 0, config.dpo_gpus or 0)
    if on and gpus:
        tell(console, f"warm: off, for runs on CPU alone ({gpus} GPUs)")
    if not on or gpus:
        return contextlib.nullcontext()
    pythons = [tool_python(config, tool) for tool in get_args(Tool)]
    return kept_warm(pythons, child_env({**PROGRAM_ENV, **env}, online=False))


def begin_imports(stages: Iterable[Stage]) -> None:
    """Have the warm parents, where there are any, import what the stages will need."""
    for stage in stages:
        name = family(stage.argv[1:])
        if name and not stage.online:
            begin(stage.argv[0], [name])
