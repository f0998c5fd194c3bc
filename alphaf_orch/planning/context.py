"""What all stages of one plan share: settings, machine, places; and the pieces of stages that SFT and DPO both have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths, find_template
from alphaf_orch.core.render import Rendered, override, plain, render
from alphaf_orch.inputs import presets as models
from alphaf_orch.inputs import sources
from alphaf_orch.planning import recipes, stages
from alphaf_orch.planning.amount import check_settings
from alphaf_orch.planning.base import tool_python
from alphaf_orch.planning.stages import Launch, Section, Stage, stage_name
from alphaf_orch.programs.tracker_keys import KEYS as TRACKER_KEYS
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.trackers import tracker_layer

# Writes the metrics; the user's own come behind it.
PLUGIN = "alphaf_orch.programs.training.axolotl_plugin.AlphafPlugin"
PROBE_ROWS = 64  # ours: enough to meet a row that sequence_len did not drop
SAMPLED_TENSORS = 12  # ours: the contract reads them one by one; every kind of layer is among them


@dataclass(frozen=True)
class Context:
    """The settings of a plan with everything resolved that both trainers need."""

    config: RunConfig
    preset: models.ModelPreset
    machine: Machine
    paths: RunPaths
    folders: tuple[Path, ...]
    env: Mapping[str, str]
    gpus: Mapping[Section, int]

    @property
    def python(self) -> str:
        """The python of axolotl's environment."""
        return tool_python(self.config, "axolotl")

    @property
    def adapter(self) -> str:
        """Which SFT recipe is used: qlora, lora or full."""
        return recipes.adapter_of([("", self.preset.sft), ("", self.config.sft)])

    def model_dir(self, section: Section) -> Path:
        """Return the folder of the finished model of a training stage; full fine-tuning needs no merge."""
        return self.paths.model(section, full=self.adapter == "full")

    def layers(self, section: Section) -> recipes.Layers:
        """Return what is put over the recipe, in order: hardware, model preset, the user's own keys."""
        full = section == "sft" and self.adapter == "full"
        user = self.config.sft if section == "sft" else self.config.dpo
        if full and "lora_r" in user:
            raise ConfigError(
                "lora_r means nothing in full fine-tuning",
                where="keys sft.adapter and sft.lora_r",
                fix="drop lora_r, or use adapter=lora",
            )
        tracked = {key: value for key, value in user.items() if key in TRACKER_KEYS}
        layers = [
            recipes.hardware_layer(self.folders, self.gpus[section], section),
            (f"model {self.preset.name}", self.preset.sft if section == "sft" else self.preset.dpo),
            ("trackers", tracker_layer({**self.config.trackers, **tracked}, self.paths.name, section)),
            ("yours", user),
        ]
        if section == "sft" and user.get("plugins"):
            user = {**user, "plugins": [PLUGIN, *(p for p in user["plugins"] if p != PLUGIN)]}
            layers[-1] = ("yours", user)
        sizes = [layer["val_set_size"] for _, layer in layers if "val_set_size" in layer]
        if section == "sft" and sizes and not sizes[-1]:
            # axolotl refuses an eval schedule without an eval set.
            layers.insert(1, ("follows val_set_size", {"eval_strategy": "no", "eval_steps": None}))
        shape = self.preset.architecture
        saved = [layer["lora_modules_to_save"] for _, layer in layers if "lora_modules_to_save" in layer]
        if section == "sft" and saved and saved[-1] and not (shape and not shape.tie_word_embeddings):
            # peft would train a tied embedding and its head apart; where nothing is tied it only says so.
            layers.insert(1, ("follows tied embeddings", {"peft_ensure_weight_tying": True}))
        ranks = [layer["lora_r"] for _, layer in layers if layer.get("lora_r")]
        if ranks:
            layers.insert(1, ("follows lora_r", {"lora_alpha": ranks[-1]}))
        return [
            (name, {k: v for k, v in layer.items() if k != "adapter" and not (full and k.startswith("lora_"))})
            for name, layer in layers
        ]

    def recipe(self, section: Section, template: str, variables: Mapping[str, Any], written_for: int) -> Rendered:
        """Return the recipe with all layers and the global batch kept on the GPUs there are to be."""
        layers = self.layers(section)
        made = recipes.render_recipe(find_template(self.folders, template), variables, layers, section)
        check_settings(made.values, section)
        gpus = self.gpus[section]
        kept = recipes.keep_global_batch(made, layers, written_for=written_for, gpus=gpus, option="--gpus")
        return override(made, [(f"keeps the global batch on {max(1, gpus)} device(s)", kept)], template)

    def launch(self, section: Section, recipe: Rendered) -> Launch:
        """Return how many processes a training stage gets and which devices they see."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [str(i) for i in range(self.gpus[section])]
        precision = "bf16" if recipe.values.get("bf16") is True else "no"
        return Launch(self.gpus[section], self.machine.cpus, precision, tuple(devices))

    def data_stage(
        self,
        name: str,
        section: Section,
        checked: tuple[sources.Source, ...],
        recipe: Rendered,
        tokenizer: Mapping[str, Any],
        upstream: Any,
        preferences: tuple[sources.Source, ...] = (),
    ) -> Stage:
        """Return the stage that counts rows and tokens with the tokenizer that the trainer will use.

        `preferences` are what a DPO planned behind this SFT trains on.
        """
        trained = self._trained_modules(recipe if section == "sft" else None)
        model_rows = {"trained": trained, "allow_untrained": self.config.allow_untrained_tokens}
        config = {
            **tokenizer,
            "model_rows": model_rows,
            "preferences": [sources.dataset_entry(source) for source in preferences],
            "trust_remote_code": self.preset.trust_remote_code_required,
            "sequence_len": recipe.values["sequence_len"],
            "kind": "chat" if section == "sft" else "preference",
            "datasets": [sources.dataset_entry(source) for source in checked],
            "output": str(self.paths.report(name)),
            "probe": str(self.paths.probe(name)),
            "probe_rows": PROBE_ROWS,
        }
        spec = {
            "data": [sources.content_key(source) for source in checked],
            "sequence_len": config["sequence_len"],
            "chat_template": config["chat_template"],
            "upstream": upstream,
            **{key: tokenizer[key] for key in ("chat_template_jinja", "eot_tokens") if key in tokenizer},
        }
        return stages.data_stage(name, self.python, self.paths, plain(config), spec)

    def _trained_modules(self, recipe: Rendered | None) -> list[str] | None:
        """Return the modules that SFT trains whole beside its LoRA; None where it trains all. DPO adds none."""
        if self.adapter == "full":
            return None
        values = [recipe.values] if recipe else [layer for _, layer in self.layers("sft")]
        named = [layer["lora_modules_to_save"] for layer in values if "lora_modules_to_save" in layer]
        return list(named[-1] or ()) if named else []

    def merge_stage(
        self,
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
        merged = self.model_dir(section)
        # axolotl's own datasets entries may be of any type, so no conversation of theirs is known.
        passed_through = section == "sft" and self.config.datasets
        probe = None if passed_through else str(self.paths.probe(stage_name("data", section)))
        variables = {
            "base_model": base,
            "base_revision": revision,
            "trust_remote_code": self.preset.trust_remote_code_required,
            "adapter_dir": str(self.paths.adapter(section)),
            "scratch_dir": str(self.paths.scratch(name)),
        }
        config = (
            plain(variables)
            if adapter == "full"
            else render(find_template(self.folders, f"merge_adapter/{adapter}.yaml.j2"), variables)
        )
        contract = {
            **variables,
            "merged_dir": str(merged),
            "adapter": adapter,
            "dtype": self.config.merge_dtype,
            "probe": probe,
            "trained_ids": trained_ids,
            "report": str(self.paths.report(name)),
            "sampled_tensors": SAMPLED_TENSORS,
            "seed": 0,
            **turns,
        }
        spec = {"upstream": upstream.fingerprint, "dtype": self.config.merge_dtype, "adapter": adapter}
        return stages.merge_stage(section, self.python, self.paths, config, plain(contract), spec, merged)


def accelerate_config(launch: Launch) -> Rendered:
    """Return accelerate's config file: named on the command line, it keeps any default one from being read."""
    return plain(
        {
            "compute_environment": "LOCAL_MACHINE",
            "distributed_type": "MULTI_GPU" if launch.processes > 1 else "NO",
            "num_processes": launch.processes,
            "num_machines": 1,
            "machine_rank": 0,
            "mixed_precision": launch.mixed_precision,
            "use_cpu": launch.gpus == 0,
            "debug": False,
        }
    )


def recipe_spec(recipe: Rendered, gpus: int) -> dict[str, Any]:
    """Return what of a recipe its result depends on, the global batch in place of how it is cut up."""
    kept = {k: v for k, v in recipe.values.items() if k not in recipes.NO_INFLUENCE and k != "datasets"}
    return {"recipe": kept, "global_batch_size": recipes.global_batch(recipe, gpus)}
