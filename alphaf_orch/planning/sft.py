"""The SFT half of a plan: data, preprocess, sft, merge_sft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.render import Rendered, override
from alphaf_orch.inputs import chat_templates, sources
from alphaf_orch.planning import engines, ray, recipes, stages
from alphaf_orch.planning.base import BaseModelRef
from alphaf_orch.planning.context import (
    Resolved,
    data_stage,
    make_recipe,
    merge_stage,
    recipe_spec,
    training_launch,
    trains_texts,
)
from alphaf_orch.planning.dpo import dpo_recipe
from alphaf_orch.planning.engine_choice import check_engine, check_fit
from alphaf_orch.planning.stages import Stage

RECIPE_GPUS = 8  # article: H100 SXM x 8; the recipes' gradient_accumulation_steps are written for it


def sft_stages(resolved: Resolved) -> tuple[Stage, ...]:
    """Return the stages from the base model to the merged SFT model."""
    base, content = resolved.base, list(resolved.content)
    assert base is not None
    recipe = _recipe(resolved, base)
    check_engine(resolved, "sft", recipe)
    check_fit(resolved, recipe)
    named = resolved.laid.files
    paths = resolved.paths
    launch = training_launch(resolved, "sft", recipe)
    spec = {**recipe_spec(recipe, resolved.ranks("sft"), resolved.engine, named), "data": content, "base": base.spec}
    found = [base.stage] if base.stage else []
    if resolved.data["sft"]:
        tokenizer = {
            "tokenizer": base.name,
            "revision": base.revision,
            **_chat_settings(recipe.values),
            "added_tokens": recipe.values.get("tokens"),
        }
        pairs = dpo_recipe(resolved).values["sequence_len"] if resolved.data["dpo"] else None
        found.append(data_stage(resolved, "sft", recipe, tokenizer, base.spec, pairs))
    python, prepared = resolved.python(), recipe.values["dataset_prepared_path"]
    tokenised = _prepared_spec(resolved, recipe, base)
    prepare = stages.preprocess_stage(python, paths, recipe, tokenised, named)
    train = stages.sft_stage(python, paths, launch, recipe, spec, named)
    if recipe.values.get("use_ray"):
        train = ray.started(train, launch)
    turns: dict[str, Any] = {
        key: recipe.values[key] for key in ("eot_tokens", "train_on_inputs") if key in recipe.values
    }
    merge = merge_stage(resolved, "sft", resolved.adapter, base.name, base.revision, prepared, train, turns)
    return (*found, prepare, train, merge)


def _chat_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe decides how conversations are rendered and closed, as the data stage takes it."""
    rare = {key: recipe[key] for key in ("chat_template_jinja", "eot_tokens") if recipe.get(key) is not None}
    return {"chat_template": recipe["chat_template"], "special_tokens": recipe["special_tokens"], **rare}


def _workers(cpus: int, checked: tuple[sources.Source, ...]) -> int:
    """Return the processes that tokenise: a worker takes seconds to start and tokenises some thousand rows in them."""
    rows = sum(source.rows or 10**6 for source in checked) if checked else 10**6
    return max(1, min(8, cpus, rows // 5000))


def _prepared_spec(resolved: Resolved, recipe: Rendered, base: BaseModelRef) -> dict[str, Any]:
    left_out = {"datasets", *recipes.NOT_FOR_DATA, *engines.for_data(resolved.engine)}
    kept = {k: v for k, v in recipe.values.items() if k not in left_out}
    return {"recipe": kept, "data": list(resolved.content), "base": base.spec}


def _recipe(resolved: Resolved, base: BaseModelRef) -> Rendered:
    """Return the recipe; its folder of tokenised data is named after all that goes into them."""
    key = fingerprint(_prepared_spec(resolved, sft_recipe(resolved, base, ""), base))[:16]
    return sft_recipe(resolved, base, str(resolved.paths.prepared / key))


def sft_recipe(resolved: Resolved, base: BaseModelRef, prepared: str) -> Rendered:
    """Return the recipe that names `prepared` as the folder of tokenised data."""
    preset, config, checked = resolved.preset, resolved.config, resolved.data["sft"]
    variables = {
        "base_model": base.name,
        "revision": base.revision,
        "trust_remote_code": resolved.remote_code,
        "datasets": list(config.datasets) or [sources.axolotl_dataset(source) for source in checked],
        "chat_template": preset.chat_template,
        "special_tokens": {k: v for k, v in preset.special_tokens.model_dump().items() if v},
        "tokens": list(preset.tokens) if preset.tokens else None,
        "sequence_len": preset.sequence_len,
        "dataset_num_proc": _workers(resolved.machine.cpus, checked),
        "output_dir": str(resolved.paths.adapter("sft")),
    }
    # A model's own accumulation is written for its own number of GPUs, the recipe's for the article's.
    own = 1 if preset.gpus == "auto" else preset.gpus
    written_for = own if "gradient_accumulation_steps" in preset.sft else RECIPE_GPUS

    named = {**variables, "dataset_prepared_path": prepared}
    recipe = make_recipe(resolved, "sft", f"sft/{resolved.adapter}.yaml.j2", named, written_for)
    return _with_turn_end(recipe, resolved.template, rendered=bool(checked) and not trains_texts(checked))


def _with_turn_end(recipe: Rendered, template: chat_templates.ChatTemplate | None, *, rendered: bool) -> Rendered:
    """Return the recipe with axolotl's eot_tokens where it needs them, and a template's file read into it.

    `rendered` False: axolotl's own `datasets` entries, of which some render no chat template.
    """
    values = recipe.values
    layers: list[tuple[str, Mapping[str, Any]]] = []
    text = recipes.chat_template_text(values.get("chat_template_jinja"))
    if text != values.get("chat_template_jinja"):
        # The run keeps what it was trained with, and knows it by its content.
        layers.append((f"read from {values['chat_template_jinja']}", {"chat_template_jinja": text}))
    chat_rows = rendered or any(entry.get("type") == "chat_template" for entry in values["datasets"])
    ends = chat_templates.eot_tokens(template, values.get("eot_tokens")) if chat_rows else None
    if ends:
        layers.append(("closes an assistant's turn in the chat template", {"eot_tokens": ends}))
    return override(recipe, layers, "sft.yaml") if layers else recipe
