"""One training of ten steps with one key changed, its rows taken from a run that has them: what a switch is worth."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import child_env
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.runs.launch import said, write_files
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.keys import parse_set
from gpu_check import figures, running
from gpu_check.check import Check

# Keys that leave the tokenised rows as they are; the first is the recipe as it is.
_SWITCHES: tuple[tuple[str, ...], ...] = (
    (),
    ("lora_mlp_kernel=false", "lora_qkv_kernel=false", "lora_o_kernel=false"),
    ("attn_implementation=eager", "sample_packing=false"),
    ("chunked_cross_entropy=false",),
    ("gradient_checkpointing=false", "gradient_checkpointing_kwargs=null"),
    ("lora_dropout=0",),
    ("micro_batch_size=4",),
    ("torch_compile=true",),
)
_PACKAGES = {"flash_attn": "flash_attention_2", "flash_attn_interface": "flash_attention_3"}


def switches(*, rehearse: bool) -> list[tuple[str, ...]]:
    """Return what is tried: attention packages where they are installed; two switches in a rehearsal."""
    if rehearse:
        return [(), ("lora_dropout=0",)]
    installed = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module)]
    return [*_SWITCHES, *((f"attn_implementation={name}",) for name in installed)]


def train_switched(check: Check, folder: Path, base: RunPaths, items: tuple[str, ...]) -> dict[str, Any]:
    """Return speed, memory and losses of a training with these keys; one that fails is told with its last words.

    The stage is the one that `alphaf sft` would run. Data and tokenised rows are those of `base`.
    """
    run = check.run_paths("switch")
    check.remove(run.root)
    short = ["gradient_accumulation_steps=1", "max_steps=10"]
    small = ["lora_r=8", "sequence_len=256"] if check.rehearse else []
    chosen = parse_set([*short, "val_set_size=0", *small, *items], default="sft")["sft"]
    config = RunConfig(model=str(folder), gpus=int(check.gpus), sft=chosen)
    plan = make_plan(config, check.machine, run.root, Scope(sections=("sft",)))
    stages = {stage.name: stage for stage in plan.stages}
    train, tokenise = stages["sft"], stages[stage_name("tokenise", "sft")]
    run.metrics("sft").parent.mkdir(parents=True)  # as `alphaf sft` does: what records the batches appends there
    log = check.log("switches-" + "-".join(items).replace("=", "_"))
    log.unlink(missing_ok=True)
    found: dict[str, Any] = {"set": list(items)}
    for stage in (tokenise, train):
        write_files(stage.files)
        if stage is tokenise and (base.root / "switch_rows").is_dir() and not any("packing" in item for item in items):
            shutil.copytree(base.root / "switch_rows", stage.outputs[0])
            continue
        env = child_env(stage.env, online=False)
        code = running.run(stage.argv, check.clock, log, limit=180, env=env)
        if code:
            return {**found, "state": "failed", "exit_code": code, "why": said(log)}
        if stage is tokenise and not items:
            shutil.copytree(stage.outputs[0], base.root / "switch_rows")
    return {**found, "state": "done", **figures.training(run, "sft")}
