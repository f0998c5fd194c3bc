"""The DPO half of a plan: dpo_data, dpo, merge_dpo."""

from __future__ import annotations

from typing import Any

from alphaf_orch.core.render import Rendered
from alphaf_orch.inputs import sources
from alphaf_orch.planning import stages
from alphaf_orch.planning.context import (
    Resolved,
    data_stage,
    make_recipe,
    merge_stage,
    recipe_spec,
    training_launch,
)
from alphaf_orch.planning.engine_choice import check_engine
from alphaf_orch.planning.engines import DDP
from alphaf_orch.planning.stages import Stage


def dpo_recipe(resolved: Resolved) -> Rendered:
    """Return the recipe of the DPO program, from the merged SFT model."""
    paths = resolved.paths
    variables = {
        "base_model": str(resolved.model_dir("sft")),
        "output_dir": str(paths.adapter("dpo")),
        "datasets": [sources.dataset_entry(source) for source in resolved.data["dpo"]],
        "probe": str(paths.probe("dpo")),
        "trust_remote_code": resolved.remote_code,
    }
    return make_recipe(resolved, "dpo", "dpo/dpo.yaml.j2", variables, 1)


def dpo_stages(resolved: Resolved, upstream: str) -> tuple[Stage, ...]:
    """Return the stages from the merged SFT model, known by its stage's fingerprint, to the merged DPO model."""
    paths, start, checked = resolved.paths, str(resolved.model_dir("sft")), resolved.data["dpo"]
    recipe = dpo_recipe(resolved)
    check_engine(resolved, "dpo", recipe)
    said = {**resolved.preset.sft, **resolved.config.sft}
    ends = {"eot_tokens": said["eot_tokens"]} if "eot_tokens" in said else {}
    tokenizer: dict[str, Any] = {
        "tokenizer": start,
        "revision": None,
        "chat_template": None,
        "added_tokens": [],
        **ends,
    }
    count = data_stage(resolved, "dpo", recipe, tokenizer, upstream)
    launch = training_launch(resolved, "dpo", recipe)
    spec = {
        **recipe_spec(recipe, resolved.ranks("dpo"), DDP, {}),
        "data": [sources.content_key(source) for source in checked],
        "upstream": upstream,
    }
    train = stages.dpo_stage(resolved.python("dpo"), paths, launch, recipe, spec)
    adapter = "qlora" if recipe.values["load_in_4bit"] else "lora"
    turns = {"trained_turns": "last", **ends}
    merge = merge_stage(resolved, "dpo", adapter, start, None, str(paths.probe("dpo")), train, turns)
    return (count, train, merge)
