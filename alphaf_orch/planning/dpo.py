"""The DPO half of a plan: dpo_data, dpo, merge_dpo."""

from __future__ import annotations

from typing import Any

from alphaf_orch.inputs import sources
from alphaf_orch.planning import stages
from alphaf_orch.planning.base import tool_python
from alphaf_orch.planning.context import Context, accelerate_config, recipe_spec
from alphaf_orch.planning.stages import Stage


def dpo_stages(context: Context, checked: tuple[sources.Source, ...], upstream: str) -> tuple[Stage, ...]:
    """Return the stages from the merged SFT model, known by its stage's fingerprint, to the merged DPO model."""
    paths, start = context.paths, str(context.model_dir("sft"))
    variables = {
        "base_model": start,
        "output_dir": str(paths.adapter("dpo")),
        "datasets": [sources.dataset_entry(source) for source in checked],
        "probe": str(paths.probe("dpo")),
        "trust_remote_code": context.preset.trust_remote_code_required,
    }
    recipe = context.recipe("dpo", "dpo/dpo.yaml.j2", variables, 1)
    said = {**context.preset.sft, **context.config.sft}
    ends = {"eot_tokens": said["eot_tokens"]} if "eot_tokens" in said else {}
    tokenizer: dict[str, Any] = {
        "tokenizer": start,
        "revision": None,
        "chat_template": None,
        "added_tokens": [],
        **ends,
    }
    count = context.data_stage("dpo_data", "dpo", checked, recipe, tokenizer, upstream)
    launch = context.launch("dpo", recipe)
    spec = {
        **recipe_spec(recipe, context.gpus["dpo"]),
        "data": [sources.content_key(source) for source in checked],
        "upstream": upstream,
    }
    train = stages.dpo_stage(
        tool_python(context.config, "dpo"),
        paths,
        launch,
        paths.rendered("accelerate_dpo.yaml"),
        accelerate_config(launch),
        recipe,
        spec,
    )
    adapter = "qlora" if recipe.values["load_in_4bit"] else "lora"
    turns = {"trained_turns": "last", **ends}
    merge = context.merge_stage("dpo", adapter, start, None, str(paths.probe("dpo")), train, turns)
    return (count, train, merge)
