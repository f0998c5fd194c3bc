"""What all stages of one plan share: everything settled before, and the pieces that SFT and DPO both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths, find_template
from alphaf_orch.core.render import Rendered, override, plain, render
from alphaf_orch.inputs import presets, sources
from alphaf_orch.inputs.chat_templates import ChatTemplate
from alphaf_orch.planning import recipes, stages
from alphaf_orch.planning.amount import check_settings
from alphaf_orch.planning.base import BaseModelRef, tool_python
from alphaf_orch.planning.merge_inputs import MergeInputs
from alphaf_orch.planning.stages import SECTIONS, Launch, Section, Stage, stage_name
from alphaf_orch.programs.tracker_keys import KEYS as TRACKER_KEYS
from alphaf_orch.settings.config import RunConfig, Tool
from alphaf_orch.settings.trackers import tracker_layer

# Writes the metrics; the user's own come behind it.
PLUGIN = "alphaf_orch.programs.training.axolotl_plugin.AlphafPlugin"
PROBE_ROWS = 64  # ours: enough to meet a row that sequence_len did not drop
SAMPLED_TENSORS = 12  # ours: the contract reads them one by one; every kind of layer is among them


@dataclass(frozen=True)
class Scope:
    """Which half is planned, and what may be missing: a dry run needs no weights, no data sets of the hub."""

    sections: tuple[Section, ...] = SECTIONS
    online: bool = False
    dry: bool = False
    upstream: str = ""  # the recorded fingerprint of what is started from, where DPO or the merge alone is planned
    merge: bool = False  # whether whole models are merged at the end, if the settings name a partner
    merge_alone: Section | None = None  # the section whose finished model is merged, where nothing else is planned


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A run with all that is read from the disk for its plan; plans are made from it alone, as often as is wanted."""

    config: RunConfig  # what was said, now or when the run began; what came of it stands below
    scope: Scope
    machine: Machine
    paths: RunPaths
    folders: tuple[Path, ...]  # of templates: their texts are the renderer's to read
    preset: presets.ModelPreset
    gpus: Mapping[Section, int]
    remote_code: bool
    base: BaseModelRef | None  # None where neither SFT nor the merge asks for it
    data: Mapping[Section, tuple[sources.Source, ...]]
    content: tuple[Any, ...]  # what identifies the rows of SFT
    template: ChatTemplate | None = None  # with which SFT trains, or trained; None where it can't be known yet
    merge: MergeInputs | None = None
    written: int = 0  # bytes in the run's folder, where only a merge is added to them

    @property
    def remembered(self) -> RunConfig:
        """The settings as the run keeps them: going on with it, it is asked for the same devices and base."""
        update: dict[str, Any] = {"gpus": self.gpus["sft"], "dpo_gpus": self.gpus["dpo"]}
        if "sft" in self.scope.sections and self.base and self.base.identity:
            update["base_revision"] = self.base.identity
        return self.config.model_copy(update=update)

    @property
    def adapter(self) -> str:
        """Which SFT recipe is used: qlora, lora or full."""
        return recipes.adapter_of([("", self.preset.sft), ("", self.config.sft)])

    def python(self, tool: Tool = "axolotl") -> str:
        """Return the python of a tool's environment."""
        return tool_python(self.config, tool)

    def model_dir(self, section: Section) -> Path:
        """Return the folder of the finished model of a training stage; full fine-tuning needs no merge."""
        return self.paths.model(section, full=self.adapter == "full")


def recipe_layers(resolved: Resolved, section: Section) -> recipes.Layers:
    """Return what is put over the recipe, in order: hardware, model preset, the user's own keys."""
    full = section == "sft" and resolved.adapter == "full"
    user = resolved.config.sft if section == "sft" else resolved.config.dpo
    if full and "lora_r" in user:
        raise ConfigError(
            "lora_r means nothing in full fine-tuning",
            where="keys sft.adapter and sft.lora_r",
            fix="drop lora_r, or use adapter=lora",
        )
    tracked = {key: value for key, value in user.items() if key in TRACKER_KEYS}
    if section == "sft" and user.get("plugins"):
        user = {**user, "plugins": [PLUGIN, *(p for p in user["plugins"] if p != PLUGIN)]}
    model = resolved.preset.sft if section == "sft" else resolved.preset.dpo
    if user.get("chat_template", "jinja") != "jinja":
        model = {key: value for key, value in model.items() if key != "chat_template_jinja"}  # another template's text
    hardware = recipes.hardware_layer(resolved.folders, resolved.gpus[section], section)
    chosen = [
        (f"model {resolved.preset.name}", model),
        ("trackers", tracker_layer({**resolved.config.trackers, **tracked}, resolved.paths.name, section)),
        ("yours", user),
    ]
    return [
        (name, {k: v for k, v in layer.items() if k != "adapter" and not (full and k.startswith("lora_"))})
        for name, layer in (hardware, *_following(resolved, section, [hardware, *chosen]), *chosen)
    ]


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
    sizes = given("val_set_size")
    if sizes and not sizes[-1]:
        # axolotl refuses an eval schedule without an eval set.
        found.append(("follows val_set_size", {"eval_strategy": "no", "eval_steps": None}))
    return found


def make_recipe(
    resolved: Resolved, section: Section, template: str, variables: Mapping[str, Any], written_for: int
) -> Rendered:
    """Return the recipe with all layers and the global batch kept on the GPUs there are to be."""
    layers = recipes.with_own_batch(recipe_layers(resolved, section))
    made = recipes.render_recipe(find_template(resolved.folders, template), variables, layers, section)
    check_settings(made.values, section)
    gpus = resolved.gpus[section]
    kept = recipes.keep_global_batch(made, layers, written_for=written_for, gpus=gpus, option="--gpus")
    return override(made, [(f"keeps the global batch on {max(1, gpus)} device(s)", kept)], template)


def training_launch(resolved: Resolved, section: Section, recipe: Rendered) -> Launch:
    """Return how many processes a training stage gets and which devices they see."""
    gpus, machine = resolved.gpus[section], resolved.machine
    precision = "bf16" if recipe.values.get("bf16") is True else "no"
    return Launch(gpus, machine.cpus, precision, machine.visible(gpus))


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


def recipe_spec(recipe: Rendered, gpus: int) -> dict[str, Any]:
    """Return what of a recipe its result depends on, the global batch in place of how it is cut up."""
    kept = {k: v for k, v in recipe.values.items() if k not in recipes.NO_INFLUENCE and k != "datasets"}
    return {"recipe": kept, "global_batch_size": recipes.global_batch(recipe, gpus)}
