"""What decides how long a stage takes and what memory it needs, as measurements are known by."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaf_orch.core.record import fingerprint
from alphaf_orch.estimates.measured import Facts, Measured
from alphaf_orch.estimates.shapes import shape_of
from alphaf_orch.inputs import sources
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Section, Stage

# Recipe values that no formula scales by: with another one it is another kind of training. These and SCALED are all
# that is kept of a recipe, and so all that the formulas may read of it.
STRICT = (
    "adapter", "load_in_4bit", "load_in_8bit", "lora_target_linear", "lora_target_modules", "lora_modules_to_save",
    "lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_dropout", "bnb_config_kwargs", "fp32_master_weights",
    "accelerator_config", "gradient_checkpointing", "selective_checkpointing", "activation_offloading", "bf16",
    "bfloat16", "fp16", "float16", "tf32", "optimizer", "attn_implementation", "sample_packing", "pad_to_sequence_len",
    "eval_sample_packing", "chunked_cross_entropy", "chunked_cross_entropy_num_chunks", "cut_cross_entropy",
    "liger_cross_entropy", "liger_fused_linear_cross_entropy", "torch_compile", "backend", "loss_type",
    "precompute_ref_log_probs",
)  # fmt: skip
SCALED = ("micro_batch_size", "gradient_accumulation_steps", "sequence_len", "lora_r")
# Distributions that decide memory and speed; others may differ.
VERSIONS = ("torch", "transformers", "axolotl", "trl", "peft", "bitsandbytes", "accelerate", "unsloth", "deepspeed")
_DISTRIBUTION = re.compile(r"(?P<name>[\w.]+)-(?P<version>[^-]+)\.dist-info")


def circumstances(plan: Plan, stage: Stage, machine: Facts, versions: Mapping[str, str], longest: int = 0) -> Measured:
    """Return a stage as it is measured, without figures; `longest` is the tokens of the longest row, 0 unknown."""
    shape = plan.preset.architecture
    strict: dict[str, Any] = {}
    scaled: dict[str, Any] = {}
    if stage.kind == "train" and stage.own_file is not None:
        recipe = stage.own_file.values
        strict = {key: recipe[key] for key in STRICT if recipe.get(key) not in (None, False, "")}
        strict |= {"lora_dropout": True} if recipe.get("lora_dropout") else {}  # that there is one decides
        strict |= {"evaluates": True} if evaluates(recipe) else {}
        engine, offload = engine_of(plan, stage)
        strict |= {"engine": engine} if engine != "ddp" else {}
        strict |= {"offload": True} if offload else {}
        scaled = {key: recipe[key] for key in SCALED if recipe.get(key) is not None}
        # Padded or packed, every batch is as long as sequence_len.
        if not (recipe.get("pad_to_sequence_len") or recipe.get("sample_packing")):
            scaled["longest"] = longest
    return Measured(
        stage=stage.name,
        run=plan.paths.name,
        at="",
        machine=machine,
        shape=asdict(shape_of(shape)) if shape else {},
        strict=strict,
        scaled=scaled,
        versions={name: versions[name] for name in VERSIONS if name in versions},
        got={},
    )


def used_gpus(plan: Plan, stage: Stage) -> int:
    """Return how many GPUs a stage uses: a training those it is given, others one where there are some."""
    gpus = plan.gpus[stage.section or "sft"]
    return gpus if stage.kind == "train" else min(gpus, 1)


def used_nodes(plan: Plan, stage: Stage) -> int:
    """Return over how many machines a stage is spread."""
    return plan.resolved.nodes(stage.section) if stage.kind == "train" and stage.section else 1


def engine_of(plan: Plan, stage: Stage) -> tuple[str, bool]:
    """Return the engine of a training, and whether it puts to the CPU what it can."""
    return (plan.engine.name, plan.engine.offload) if stage.section == "sft" else ("ddp", False)


def machine_facts(card: str, gpus: int, nodes: int, cpu: str, cores: int) -> Facts:
    """Return the machine as measurements are known by: a card and how many, or the processor and its cores."""
    return {"card": card, "gpus": gpus, "nodes": nodes} if gpus else {"cpu": cpu, "cores": cores}


def evaluates(recipe: Mapping[str, Any]) -> bool:
    """Return whether a training stops now and then to look at rows that are held out."""
    return bool(recipe.get("val_set_size")) and recipe.get("eval_strategy", "steps") != "no"


def data_key(plan: Plan, section: Section) -> str:
    """Return what identifies the rows of a training as they are counted: a hash, empty where no data stage counts."""
    found = plan.sources.get(section) or ()
    file = next((stage.own_file for stage in plan.stages if stage.kind == "data" and stage.section == section), None)
    if not found or file is None:
        return ""
    # Of DPO the template is the SFT model's.
    chat = {key: plan.preset.model_dump()[key] for key in ("chat_template", "special_tokens", "tokens")}
    shape = plan.preset.architecture
    content = [sources.content_key(source) for source in found]
    return fingerprint([content, file.values["sequence_len"], chat, shape.vocab_size if shape else 0])[:16]


def processor() -> str:
    """Return the name of the processor, empty where the system does not tell it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return ""


@functools.cache
def installed_versions(python: str) -> Mapping[str, str]:
    """Return the versions in a python's environment, by the names of its folders; nothing where it has none."""
    found = {}
    for folder in Path(python).parent.parent.glob("lib/python3*/site-packages"):
        for entry in folder.iterdir():
            parts = _DISTRIBUTION.fullmatch(entry.name)
            if parts:
                found[parts["name"].lower().replace("_", "-")] = parts["version"]
    return found
