"""What all stages of one plan share: everything settled before, and the pieces that SFT and DPO both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.nodes import Node
from alphaf_orch.core.paths import find_template
from alphaf_orch.core.render import Rendered, override, plain, render
from alphaf_orch.inputs import sources
from alphaf_orch.planning import engines, ray, recipes, stages
from alphaf_orch.planning.resolved import Resolved as Resolved
from alphaf_orch.planning.resolved import Scope as Scope
from alphaf_orch.planning.stages import Launch, Section, Stage, stage_name
from alphaf_orch.programs.tracker_keys import KEYS as TRACKER_KEYS
from alphaf_orch.settings.engine_keys import ENGINE_KEYS
from alphaf_orch.settings.trackers import tracker_layer

# Writes the metrics; the user's own come behind it.
PLUGIN = "alphaf_orch.programs.training.axolotl_plugin.AlphafPlugin"
# Keys that axolotl refuses beside another one, which the recipes set (schemas/validation.py).
_INSTEAD = {"warmup_steps": "warmup_ratio", "saves_per_epoch": "save_steps", "evals_per_epoch": "eval_steps"}
_OTHER_LOSSES = ("cut_cross_entropy", "liger_cross_entropy", "liger_fused_linear_cross_entropy")
PROBE_ROWS = 64  # ours: enough to meet a row that sequence_len did not drop
SAMPLED_TENSORS = 12  # ours: the contract reads them one by one; every kind of layer is among them


def recipe_layers(resolved: Resolved, section: Section) -> recipes.Layers:
    """Return what is put over the recipe, in order: hardware, engine, model preset, the user's own keys."""
    full = section == "sft" and resolved.adapter == "full"
    (_, model), (_, user) = own_settings(resolved, section)
    if full and "lora_r" in user:
        raise ConfigError(
            "lora_r means nothing in full fine-tuning",
            where="keys sft.adapter and sft.lora_r",
            fix="drop lora_r, or use adapter=lora",
            code="config.not_together",
        )
    tracked = {key: value for key, value in user.items() if key in TRACKER_KEYS}
    engine = resolved.laid.layers if section == "sft" else ()
    user, model = _with_plugin(user), _with_plugin(model)
    if user.get("chat_template", "jinja") != "jinja":
        model = {key: value for key, value in model.items() if key != "chat_template_jinja"}  # another template's text
    hardware = recipes.hardware_layer(resolved.folders, resolved.gpus[section], section)
    chosen = [
        (f"model {resolved.preset.name}", model),
        ("trackers", tracker_layer({**resolved.config.trackers, **tracked}, resolved.paths.name, section)),
        ("yours", user),
    ]
    zero = section == "sft" and resolved.engine.name in ("zero2", "zero3")
    unrendered = {"adapter", *ENGINE_KEYS, *(("deepspeed",) if zero else ())}  # the engine makes a file of it
    below = (hardware, *_following(resolved, section, [hardware, *chosen]))
    kept = [
        (name, {k: v for k, v in layer.items() if k not in unrendered and not (full and k.startswith("lora_"))})
        for name, layer in (*below, *chosen)
    ]
    return [*kept[: len(below)], *engine, *kept[len(below) :]]


def own_settings(resolved: Resolved, section: Section) -> list[engines.Layer]:
    """Return what is set beside templates: by the model preset, by yourself."""
    model, own = (getattr(said, section) for said in (resolved.preset, resolved.config))
    return [(f"the preset of {resolved.preset.name}", model), ("you", own)]


def engine_laid(resolved: Resolved) -> engines.Laid:
    """Return what the engine of SFT adds to its recipe and which file it needs."""
    shape = {"gpus": resolved.gpus["sft"], "nodes": resolved.nodes("sft")}
    own = {**resolved.preset.sft, **resolved.config.sft}.get("deepspeed")
    return engines.laid(resolved.engine, resolved.folders, resolved.paths, resolved.adapter, shape, own)


def _with_plugin(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the layer with our plugin before those that it names: without it there are no metrics."""
    if "plugins" not in layer:
        return layer
    return {**layer, "plugins": [PLUGIN, *(name for name in layer["plugins"] or () if name != PLUGIN)]}


def _following(resolved: Resolved, section: Section, layers: recipes.Layers) -> recipes.Layers:
    """Return what a recipe must change because the layers set another key."""

    def given(key: str) -> list[Any]:
        return [layer[key] for _, layer in layers if key in layer]

    found: list[tuple[str, Mapping[str, Any]]] = []
    ranks = [rank for rank in given("lora_r") if rank]
    if ranks:
        found.append(("follows lora_r", {"lora_alpha": ranks[-1]}))
    if section == "dpo":
        return found
    shape = resolved.preset.architecture
    if any(given("lora_modules_to_save")[-1:]) and not (shape and not shape.tie_word_embeddings):
        # peft would train a tied embedding and its head apart; where nothing is tied it only says so.
        found.append(("follows tied embeddings", {"peft_ensure_weight_tying": True}))
    said = {key: value for _, layer in layers for key, value in layer.items()}
    if said.get("use_ray"):
        gpu = resolved.gpus["sft"] > 0
        found.append(("follows use_ray", ray.layer(said, resolved.ranks("sft"), resolved.paths.name, gpu=gpu)))
    sizes = given("val_set_size")
    if sizes and not sizes[-1]:
        # axolotl refuses an eval schedule without an eval set.
        found.append(("follows val_set_size", {"eval_strategy": "no", "eval_steps": None}))
    cut = any(str(name).endswith(".CutCrossEntropyPlugin") for name in said.get("plugins") or ())
    loss = next((key for key in _OTHER_LOSSES if said.get(key)), "plugins" if cut else "")
    if loss and said.get("chunked_cross_entropy"):
        # axolotl takes one of them (schemas/validation.py:1113), and that plugin none beside it (its args.py:48).
        found.append((f"follows {loss}", {"chunked_cross_entropy": None}))
    for key, other in _INSTEAD.items():
        if any(value is not None for value in given(key)[-1:]) and not given(other):
            found.append((f"follows {key}", {other: None}))
    return found


def make_recipe(
    resolved: Resolved, section: Section, template: str, variables: Mapping[str, Any], written_for: int
) -> Rendered:
    """Return the recipe with all layers and the global batch kept on the GPUs there are to be."""
    layers = recipes.with_own_batch(recipe_layers(resolved, section))
    made = recipes.render_recipe(find_template(resolved.folders, template), variables, layers, section)
    ranks = resolved.ranks(section)
    option = "--gpus" if resolved.nodes(section) == 1 else "--gpus times --nodes"
    kept = recipes.keep_global_batch(made, layers, written_for=written_for, gpus=ranks, option=option)
    return override(made, [(f"keeps the global batch on {ranks} device(s)", kept)], template)


def training_launch(resolved: Resolved, section: Section, recipe: Rendered) -> Launch:
    """Return how many processes a training stage gets and which devices they see."""
    gpus, machine = resolved.gpus[section], resolved.machine
    precision = "bf16" if recipe.values.get("bf16") is True else "no"
    nodes, node = resolved.nodes(section), resolved.node if resolved.nodes(section) > 1 else Node()
    engine = resolved.engine.name if section == "sft" else "ddp"
    return Launch(gpus, machine.cpus, precision, machine.visible(gpus), engine, nodes, node)


def data_stage(
    resolved: Resolved,
    section: Section,
    recipe: Rendered,
    tokenizer: Mapping[str, Any],
    upstream: Any,
    preference_len: int | None = None,
) -> Stage:
    """Return the stage that counts rows and tokens with the tokenizer that the trainer will use.

    That of an SFT looks at what a DPO planned behind it trains on, too, in as many tokens as that reads.
    """
    name, checked = stage_name("data", section), resolved.data[section]
    preferences = resolved.data["dpo"] if section == "sft" else ()
    trained = _trained_modules(resolved, recipe if section == "sft" else None)
    model_rows = {"trained": trained, "allow_untrained": resolved.config.allow_untrained_tokens}
    config = {
        **tokenizer,
        "model_rows": model_rows,
        "preferences": [sources.dataset_entry(source) for source in preferences],
        "preference_len": preference_len,
        "held_out": _held_out(recipe.values),
        "trust_remote_code": resolved.remote_code,
        "sequence_len": recipe.values["sequence_len"],
        "kind": "text" if trains_texts(checked) else "chat" if section == "sft" else "preference",
        "datasets": [sources.dataset_entry(source) for source in checked],
        "output": str(resolved.paths.report(name)),
        "probe": str(resolved.paths.probe(name)),
        "probe_rows": PROBE_ROWS,
    }
    spec = {
        "data": [sources.content_key(source) for source in checked],
        "sequence_len": config["sequence_len"],
        "chat_template": config["chat_template"],
        "upstream": upstream,
        **{key: tokenizer[key] for key in ("chat_template_jinja", "eot_tokens") if key in tokenizer},
    }
    return stages.data_stage(name, resolved.python(), resolved.paths, plain(config), spec)


def trains_texts(checked: Sequence[sources.Source]) -> bool:
    """Return whether the data are texts for continued pretraining, never mixed with conversations."""
    return any(source.format == "text" for source in checked)


def _held_out(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training is evaluated on: a share of its rows, or the data sets that axolotl's key names."""
    named = [{"path": entry.get("path", ""), "kind": "local"} for entry in recipe.get("test_datasets") or ()]
    alone = bool(recipe.get("dataset_exact_deduplication"))  # then no row that is trained on is like one held out
    return {"share": 0 if alone else recipe.get("val_set_size") or 0, "datasets": named}


def _trained_modules(resolved: Resolved, recipe: Rendered | None) -> list[str] | None:
    """Return the modules that SFT trains whole beside its LoRA; None where it trains all. DPO adds none."""
    if resolved.adapter == "full":
        return None
    values = [recipe.values] if recipe else [layer for _, layer in recipe_layers(resolved, "sft")]
    named = [layer["lora_modules_to_save"] for layer in values if "lora_modules_to_save" in layer]
    return list(named[-1] or ()) if named else []


def merge_stage(
    resolved: Resolved,
    section: Section,
    adapter: str,
    base: str,
    revision: str | None,
    trained_ids: str,
    upstream: Stage,
    turns: Mapping[str, Any],
) -> Stage:
    """Return the stage that merges the section's adapter into `base` and checks the hand-off.

    `turns` says which of a conversation's turns carry loss and what ends them, under the contract's keys.
    """
    name = stage_name("merge", section)
    merged = resolved.model_dir(section)
    # axolotl's own datasets entries may be of any type, so no conversation of theirs is known; texts hold none.
    passed_through = section == "sft" and (resolved.config.datasets or trains_texts(resolved.data["sft"]))
    probe = None if passed_through else str(resolved.paths.probe(stage_name("data", section)))
    variables = {
        "base_model": base,
        "base_revision": revision,
        "trust_remote_code": resolved.remote_code,
        "adapter_dir": str(resolved.paths.adapter(section)),
        "scratch_dir": str(resolved.paths.scratch(name)),
    }
    config = (
        plain(variables)
        if adapter == "full"
        else render(find_template(resolved.folders, f"merge_adapter/{adapter}.yaml.j2"), variables)
    )
    contract = {
        **variables,
        "merged_dir": str(merged),
        "adapter": adapter,
        "dtype": resolved.config.merge_dtype,
        "probe": probe,
        "trained_ids": trained_ids,
        "report": str(resolved.paths.report(name)),
        "sampled_tensors": SAMPLED_TENSORS,
        "seed": 0,
        **turns,
    }
    spec = {"upstream": upstream.fingerprint, "dtype": resolved.config.merge_dtype, "adapter": adapter}
    return stages.merge_stage(section, resolved.python(), resolved.paths, config, plain(contract), spec, merged)


def recipe_spec(recipe: Rendered, ranks: int, engine: engines.Engine, named: Mapping[Path, Rendered]) -> dict[str, Any]:
    """Return what of a recipe its result depends on, the global batch in place of how it is cut up."""
    kept = {k: v for k, v in recipe.values.items() if k not in recipes.NO_INFLUENCE and k != "datasets"}
    return {**engines.spec(engine, kept, named), "global_batch_size": recipes.global_batch(recipe, ranks)}
