"""The SFT half of a plan: data, preprocess, sft, merge_sft."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.render import Rendered, override
from alphaf_orch.inputs import chat_templates, hub_cache, sources
from alphaf_orch.inputs.chat_templates import ChatTemplate
from alphaf_orch.planning import recipes, stages
from alphaf_orch.planning.base import BaseModelRef
from alphaf_orch.planning.context import Context, accelerate_config, recipe_spec
from alphaf_orch.planning.stages import Stage

RECIPE_GPUS = 8  # article: H100 SXM x 8; the recipes' gradient_accumulation_steps are written for it


def sft_stages(
    context: Context,
    base: BaseModelRef,
    template: ChatTemplate | None,
    checked: tuple[sources.Source, ...],
    preferences: tuple[sources.Source, ...] = (),
) -> tuple[Stage, ...]:
    """Return the stages from the base model to the merged SFT model.

    `template` is what trained_template found; `preferences` is the data of a DPO behind them.
    """
    content = _content(context, checked)
    chat_templates.refuse_systems(template, checked)
    recipe = _recipe(context, base, template, checked, content)
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
            **_chat_settings(recipe.values),
            "added_tokens": recipe.values.get("tokens"),
        }
        found.append(context.data_stage("data", "sft", checked, recipe, tokenizer, base.spec, preferences))
    prepare = stages.preprocess_stage(context.python, file, recipe, prepared, _prepared_spec(recipe, content, base))
    train = stages.sft_stage(
        context.python, paths, launch, accelerate_file, accelerate_config(launch), file, recipe, spec
    )
    turns: dict[str, Any] = {
        key: recipe.values[key] for key in ("eot_tokens", "train_on_inputs") if key in recipe.values
    }
    merge = context.merge_stage("sft", context.adapter, base.name, base.revision, str(prepared), train, turns)
    return (*found, prepare, train, merge)


def trained_template(context: Context, base: BaseModelRef) -> ChatTemplate | None:
    """Return the chat template that SFT trains with, or None where it can't be known yet."""
    preset = context.preset
    settings: dict[str, Any] = {
        "chat_template": preset.chat_template,
        "special_tokens": preset.special_tokens.model_dump(),
        "tokens": preset.tokens,
    }
    for _, layer in context.layers("sft"):
        for key in layer.keys() & {*settings, "chat_template_jinja"}:
            value = layer[key]
            settings[key] = {**settings[key], **value} if key == "special_tokens" and value else value
    settings["chat_template_jinja"] = _template_text(settings.get("chat_template_jinja"))
    folder = Path(base.name)
    if not folder.is_dir():
        found = hub_cache.snapshot(base.name, "model", base.revision, context.env) if preset.source == "hub" else None
        return chat_templates.template_of(settings, found)
    return chat_templates.template_of(settings, folder)


def _template_text(text_or_file: str | None) -> str | None:
    """Return the chat template that axolotl's chat_template_jinja holds, or names as a file."""
    if text_or_file and "\n" not in text_or_file and len(text_or_file) < 1000 and Path(text_or_file).is_file():
        return Path(text_or_file).read_text(encoding="utf-8")
    return text_or_file


def _chat_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe decides how conversations are rendered and closed, as the data stage takes it."""
    rare = {key: recipe[key] for key in ("chat_template_jinja", "eot_tokens") if recipe.get(key) is not None}
    return {"chat_template": recipe["chat_template"], "special_tokens": recipe["special_tokens"], **rare}


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


def _recipe(
    context: Context,
    base: BaseModelRef,
    template: ChatTemplate | None,
    checked: tuple[sources.Source, ...],
    content: list[Any],
) -> Rendered:
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
        return _with_turn_end(
            context.recipe("sft", f"sft/{context.adapter}.yaml.j2", named, written_for),
            template,
            rendered=bool(checked),
        )

    # The folder is named after all that goes into the tokenised rows, their content included.
    key = fingerprint(_prepared_spec(made(""), content, base))[:16]
    return made(str(context.paths.prepared / key))


def _with_turn_end(recipe: Rendered, template: ChatTemplate | None, *, rendered: bool) -> Rendered:
    """Return the recipe with axolotl's eot_tokens where it needs them, and a template's file read into it.

    `rendered` False: axolotl's own `datasets` entries, of which some render no chat template.
    """
    values = recipe.values
    layers: list[tuple[str, Mapping[str, Any]]] = []
    text = _template_text(values.get("chat_template_jinja"))
    if text != values.get("chat_template_jinja"):
        # The run keeps what it was trained with, and knows it by its content.
        layers.append((f"read from {values['chat_template_jinja']}", {"chat_template_jinja": text}))
    chat_rows = rendered or any(entry.get("type") == "chat_template" for entry in values["datasets"])
    ends = chat_templates.eot_tokens(template, values.get("eot_tokens")) if chat_rows else None
    if ends:
        layers.append(("closes an assistant's turn in the chat template", {"eot_tokens": ends}))
    return override(recipe, layers, "sft.yaml") if layers else recipe
