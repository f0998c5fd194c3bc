"""What must hold on this machine before the first launch: tools, GPUs, disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from alphaf_orch.core.command import PROGRAM_ENV, capture, child_env, program
from alphaf_orch.core.disk import written
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.hardware import Machine, check_disk, check_gpus
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.settings.trackers import tracker_packages

_NEEDS = {
    "axolotl": ("axolotl", "transformers", "torch"),
    "dpo": ("trl", "peft", "transformers", "torch"),
    "mergekit": ("mergekit", "transformers", "torch"),
}
# The distribution behind each attention that is none of torch's own, as transformers and axolotl look for it.
_ATTENTION = {
    "flash_attention_2": "flash-attn",
    "flash_attention_3": "flash-attn-3",
    "flash_attention_4": "flash-attn-4",
    "xformers": "xformers",
    "sage": "sageattention",
}


def check_all_gpus(plan: Plan, machine: Machine, pending: Sequence[Stage]) -> None:
    """Raise HardwareError where a stage still to run asks for more GPUs than there are."""
    for stage in pending:
        if stage.kind == "train" and stage.section:
            check_gpus(plan.gpus[stage.section], machine, stage.section, "--gpus")


def check_machine(plan: Plan, pending: Sequence[Stage]) -> dict[str, dict[str, str]]:
    """Return the versions in each tool's environment; raise HardwareError or ToolError for disk or tools it lacks."""
    if any(stage.kind in ("train", "merge") for stage in pending):
        # What an earlier call wrote is part of the estimate and already on the disk.
        needed = plan.disk_bytes - written(plan.paths.root)
        check_disk(plan.paths.root, needed, f"run {plan.paths.name}")
    versions: dict[str, dict[str, str]] = {}
    for stage in pending:
        python = stage.argv[0]
        if python not in versions:
            versions[python] = tool_versions(python)
        lacking = [name for name in _NEEDS[stage.tool] if name not in versions[python]]
        if stage.name == "sft":
            _check_attention(stage, versions[python])
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
            )
        if lacking:
            raise ToolError(
                f"{stage.name} needs {', '.join(lacking)}, not installed in that environment",
                where=python,
                fix="run `make setup` (or pip install 'alphaf-orch[cpu]' / '[gpu]'), or set `tools:` in the config",
            )
    return versions


def _check_attention(stage: Stage, installed: Mapping[str, str]) -> None:
    """Raise ToolError where the recipe's attention is a package or a kernel that is not on this machine."""
    fix = "use torch's own attention, which packs too: --set sft.attn_implementation=sdpa"
    for wanted in filter(None, (file.values.get("attn_implementation") for file in stage.files.values())):
        package = _ATTENTION.get(wanted)
        if "/" in wanted:
            raise ToolError(
                f"the attention {wanted} is a kernel that transformers fetches from the hub, and no stage is online",
                where="key sft.attn_implementation",
                fix=f"install one of {', '.join(list(_ATTENTION.values())[:3])} and name its attention, or {fix}",
            )
        if package and package not in installed:
            raise ToolError(
                f"the recipe asks for {wanted} and {package} is not installed",
                where=stage.argv[0],
                fix=f"install {package} there, or {fix}",
            )


def tool_versions(python: str) -> dict[str, str]:
    """Return the versions of the tools in an environment; raise ToolError where its python cannot be run."""
    code, out = capture(program(python, "versions"), env=child_env(PROGRAM_ENV, online=False))
    if code:
        raise ToolError(
            f"python cannot be run (exit code {code})",
            where=python,
            fix="check `tools:` in the config: each is the path of an environment's python",
        )
    found: dict[str, str] = json.loads(out)
    return found
