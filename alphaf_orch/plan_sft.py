"""The SFT half of a plan: data, preprocess, sft, merge_sft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alphaf_orch import recipes, sources, stages
from alphaf_orch.base import BaseModelRef
from alphaf_orch.context import Context, accelerate_config, recipe_spec
from alphaf_orch.record import fingerprint
from alphaf_orch.render import Rendered
from alphaf_orch.stages import Stage

RECIPE_GPUS = 8  # article: H100 SXM x 8; the recipes' gradient_accumulation_steps are written for it


def sft_stages(
    context: Context,
    base: BaseModelRef,
    checked: tuple[sources.Source, ...],
    preferences: tuple[sources.Source, ...] = (),
) -> tuple[Stage, ...]:
    """Return the stages from the base model to the merged SFT model; `preferences` is the data of a DPO behind them."""
    content = _content(context, checked)
    recipe = _recipe(context, base, checked, content)
    paths = context.paths
    file, accelerate_file = paths.rendered("sft.yaml"), paths.rendered("accelerate_sft.yaml")
    prepared = Path(recipe.values["dataset_prepared_path"])
    launch = context.launch("sft", recipe)
    spec = {**recipe_spec(recipe, context.gpus["sft"]), "data": content, "base": base.spec}
    found = [base.stage] if base.stage else []
    if checked:
        tokenizer = {
            "tokenizer": base.name,
            "revision": base.revision,
            **{key: recipe.values.get(key) for key in ("chat_template", "chat_template_jinja", "special_tokens")},
            "added_tokens": recipe.values.get("tokens"),
        }
        found.append(context.data_stage("data", "sft", checked, recipe, tokenizer, base.spec, preferences))
    prepare = stages.preprocess_stage(context.python, file, recipe, prepared, _prepared_spec(recipe, content, base))
    train = stages.sft_stage(
        context.python, paths, launch, accelerate_file, accelerate_config(launch), file, recipe, spec
    )
    merge = context.merge_stage("sft", context.adapter, base.name, base.revision, str(prepared), train)
    return (*found, prepare, train, merge)


def _content(context: Context, checked: tuple[sources.Source, ...]) -> list[Any]:
    if context.config.datasets:
        return [sources.entry_key(entry, context.env) for entry in context.config.datasets]
    return [sources.content_key(source) for source in checked]


def _workers(cpus: int, checked: tuple[sources.Source, ...]) -> int:
    """Return the processes that tokenise: a worker takes seconds to start and tokenises some thousand rows in them."""
    rows = sum(source.rows or 10**6 for source in checked) if checked else 10**6
    return max(1, min(8, cpus, rows // 5000))


def _prepared_spec(recipe: Rendered, content: list[Any], base: BaseModelRef) -> dict[str, Any]:
    kept = {k: v for k, v in recipe.values.items() if k not in recipes.NOT_FOR_DATA and k != "datasets"}
    return {"recipe": kept, "data": content, "base": base.spec}


def _recipe(context: Context, base: BaseModelRef, checked: tuple[sources.Source, ...], content: list[Any]) -> Rendered:
    preset = context.preset
    variables = {
        "base_model": base.name,
        "revision": base.revision,
        "trust_remote_code": preset.trust_remote_code_required,
        "datasets": list(context.config.datasets) or [sources.axolotl_dataset(source) for source in checked],
        "chat_template": preset.chat_template,
        "special_tokens": {k: v for k, v in preset.special_tokens.model_dump().items() if v},
        "tokens": list(preset.tokens) if preset.tokens else None,
        "sequence_len": preset.sequence_len,
        "dataset_num_proc": _workers(context.machine.cpus, checked),
        "output_dir": str(context.paths.adapter("sft")),
    }
    # A model's own accumulation is written for its own number of GPUs, the recipe's for the article's.
    own = 1 if preset.gpus == "auto" else preset.gpus
    written_for = own if "gradient_accumulation_steps" in preset.sft else RECIPE_GPUS

    def made(prepared: str) -> Rendered:
        named = {**variables, "dataset_prepared_path": prepared}
        return context.recipe("sft", f"sft/{context.adapter}.yaml.j2", named, written_for)

    # The folder is named after all that goes into the tokenised rows, their content included.
    key = fingerprint(_prepared_spec(made(""), content, base))[:16]
    return made(str(context.paths.prepared / key))
