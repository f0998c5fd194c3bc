"""What must hold on this machine before the first launch: tools, GPUs that torch itself sees, compiler, disk."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from alphaf_orch.core.command import PROGRAM_ENV, capture, child_env, program
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.hardware import Machine, check_gpus
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.expected import disk_left
from alphaf_orch.runs.machine.checks import require
from alphaf_orch.runs.machine.require import Wanted, require_counted, require_gpus
from alphaf_orch.runs.machine.room import rooms
from alphaf_orch.runs.ray import check_ray
from alphaf_orch.settings.trackers import tracker_packages

_NEEDS = {
    "axolotl": ("axolotl", "transformers", "torch"),
    "dpo": ("trl", "peft", "transformers", "torch"),
    "mergekit": ("mergekit", "transformers", "torch"),
}
# In the names of keys, plugins and attentions whose kernels are built while a training runs, all of axolotl's:
# lora_mlp_kernel, torch_compile, liger_rms_norm, KernelsPlugin, CutCrossEntropyPlugin, flex_attention, ...
_COMPILED = re.compile(
    r"kernel|^torch_compile$|^flex_|liger|(cut|chunked)_?cross_?entropy|^deepspeed$|triton", re.IGNORECASE
)
# The distribution behind each attention that is none of torch's own, as transformers and axolotl look for it.
ATTENTION = {
    "flash_attention_2": "flash-attn",
    "flash_attention_3": "flash-attn-3",
    "flash_attention_4": "flash-attn-4",
    "xformers": "xformers",
    "sage": "sageattention",
}
# Where `attn_implementation` is empty, in this order (axolotl 0.19, utils/schemas/enums.py, LEGACY_ATTN_FLAG_TO_IMPL).
_OLDER_KEYS = {"xformers_attention": "xformers", "sage_attention": "sage", "flash_attention": "flash_attention_2"}


def check_all_gpus(plan: Plan, machine: Machine, pending: Sequence[Stage]) -> None:
    """Raise HardwareError where a stage still to run asks for more GPUs than there are."""
    for stage in pending:
        if stage.kind == "train" and stage.section:
            check_gpus(plan.gpus[stage.section], machine, stage.section, "--gpus")


def check_devices(plan: Plan, machine: Machine, pending: Sequence[Stage]) -> None:
    """Raise HardwareError or ToolError where torch cannot use the GPUs that the stages still to run were planned for.

    A plan for the processor alone costs a look at one path.
    """
    trained = [stage for stage in pending if stage.kind == "train" and stage.section]
    if not any(plan.gpus[stage.section] for stage in trained if stage.section):
        require_counted(machine, chosen=plan.resolved.config.gpus is not None or not trained)
        return
    wanted: dict[str, Wanted] = {}
    versions: dict[str, dict[str, str]] = {}
    for stage in trained:
        gpus, python = plan.gpus[stage.section] if stage.section else 0, stage.argv[0]
        if not gpus or stage.own_file is None:
            continue
        if python not in versions:
            versions[python] = tool_versions(python)
        values, other = stage.own_file.values, wanted.get(python, Wanted(0))
        wanted[python] = Wanted(
            max(gpus, other.gpus),
            bf16=other.bf16 or values.get("bf16") is True,
            compiles=other.compiles or needs_compiler(values, versions[python]),
        )
    for python, each in wanted.items():
        require_gpus(python, each, machine, versions[python])


def needs_compiler(recipe: Mapping[str, Any], installed: Mapping[str, str]) -> bool:
    """Return whether a training has kernels built while it runs: by Triton, torch.compile, unsloth or deepspeed."""
    if recipe.get("backend") == "unsloth" or (recipe.get("backend") == "auto" and "unsloth" in installed):
        return True
    if any(value not in (None, False, "") for key, value in recipe.items() if _COMPILED.search(key)):
        return True
    return any(
        _COMPILED.search(name) for name in (*(recipe.get("plugins") or ()), recipe.get("attn_implementation") or "")
    )


def lacking(tool: str, installed: Mapping[str, str]) -> list[str]:
    """Return what a tool needs and its environment lacks."""
    return [name for name in _NEEDS.get(tool, ()) if name not in installed]


def check_machine(plan: Plan, pending: Sequence[Stage]) -> dict[str, dict[str, str]]:
    """Return the versions in each tool's environment; raise HardwareError or ToolError for disk or tools it lacks."""
    require(rooms(disk_left(plan, pending), f"run {plan.paths.full_name}"))
    versions: dict[str, dict[str, str]] = {}
    for stage in pending:
        python = stage.argv[0]
        if python not in versions:
            versions[python] = tool_versions(python)
        missing = lacking(stage.tool, versions[python])
        if stage.name == "sft":
            check_attention(stage, versions[python])
        untracked = [
            f"{tracker} needs {' or '.join(packages)}"
            for file in stage.files.values()
            for tracker, packages in tracker_packages(file.values).items()
            if stage.kind == "train" and not set(packages) & versions[python].keys()
        ]
        if untracked:
            raise ToolError(
                f"{untracked[0]}, not installed in that environment",
                where=python,
                fix="install it there, or take its keys out of `trackers:`",
                code="tool.not_installed",
            )
        if missing:
            raise ToolError(
                f"{stage.name} needs {', '.join(missing)}, not installed in that environment",
                where=python,
                fix="run `make setup` (or pip install 'alphaf-orch[cpu]' / '[gpu]'), or set `tools:` in the config",
                code="tool.not_installed",
            )
    check_ray(pending, versions)
    return versions


def check_attention(stage: Stage, installed: Mapping[str, str]) -> None:
    """Raise ToolError where the recipe's attention is a package or a kernel that is not on this machine."""
    fix = "use torch's own attention, which packs too: --set sft.attn_implementation=sdpa"
    for wanted in filter(None, (_attention_of(file.values) for file in stage.files.values())):
        package = ATTENTION.get(wanted)
        if "/" in wanted:
            raise ToolError(
                f"the attention {wanted} is a kernel that transformers fetches from the hub, and no stage is online",
                where="key sft.attn_implementation",
                fix=f"install one of {', '.join(list(ATTENTION.values())[:3])} and name its attention, or {fix}",
                code="tool.kernel_not_here",
            )
        if package and package not in installed:
            raise ToolError(
                f"the recipe asks for {wanted} and {package} is not installed",
                where=stage.argv[0],
                fix=f"install {package} there, or {fix}",
                code="tool.not_installed",
            )


def _attention_of(recipe: Mapping[str, Any]) -> str | None:
    """Return the attention that axolotl takes: its key, else what one of the older keys stands for."""
    said: str | None = recipe.get("attn_implementation")
    return said or next((name for key, name in _OLDER_KEYS.items() if recipe.get(key)), None)


def tool_versions(python: str) -> dict[str, str]:
    """Return the versions of the tools in an environment; raise ToolError where its python cannot be run."""
    code, out = capture(program(python, "versions"), env=child_env(PROGRAM_ENV, online=False))
    if code:
        raise ToolError(
            f"python cannot be run (exit code {code})",
            where=python,
            fix="check `tools:` in the config: each is the path of an environment's python",
            code="tool.cannot_run",
        )
    found: dict[str, str] = json.loads(out)
    return found
