"""Recipes: a template, the hardware's layer, the model's layer, the user's layers, and the global batch kept."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import find_template
from alphaf_orch.core.render import Rendered, override, render, template_text
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.programs.tracker_keys import KEYS as TRACKER_KEYS
from alphaf_orch.settings.keys import check_rendered, check_section

# What may differ between two runs that are otherwise the same: places, speed, and how the global batch is cut up.
NO_INFLUENCE = {
    "output_dir",
    "dataset_prepared_path",
    "dataset_num_proc",
    "plugins",
    "gradient_accumulation_steps",
    "logging_steps",
    "save_steps",
    "save_total_limit",
    "saves_per_epoch",
    "ddp_timeout",
    "use_ray",
    "ray_run_name",
    "ray_num_workers",
    "resources_per_worker",
    # Who reads the rows, and how far ahead: the main process draws their order, and nothing changes them on the way.
    "dataloader_num_workers",
    "dataloader_prefetch_factor",
    "dataloader_pin_memory",
    "dataloader_persistent_workers",
    # The same sum of the same logarithms over the same tokens, divided by the same number of them, piece by piece.
    "chunked_cross_entropy",
    "chunked_cross_entropy_num_chunks",
    "probe",
    "base_model",
    "revision_of_model",
    *TRACKER_KEYS,
}
# What cannot change tokenised data; a key left out here costs a second tokenisation, never stale data.
NOT_FOR_DATA = NO_INFLUENCE | {
    "adapter", "load_in_4bit", "lora_r", "lora_alpha", "lora_dropout", "lora_target_linear", "lora_target_modules",
    "lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "micro_batch_size", "num_epochs", "max_steps",
    "learning_rate", "lr_scheduler", "warmup_ratio", "optimizer", "adam_beta1", "adam_beta2", "adam_epsilon",
    "weight_decay", "max_grad_norm", "neftune_noise_alpha", "bf16", "tf32", "attn_implementation",
    "gradient_checkpointing", "gradient_checkpointing_kwargs", "save_only_model", "save_strategy", "eval_steps",
    "eval_strategy", "ddp_find_unused_parameters",
}  # fmt: skip

Layers = Sequence[tuple[str, Mapping[str, Any]]]
# How a machine's layer is named, and what of it is one choice: into how many pieces of which size a batch is cut.
_HARDWARE = "hardware/"
_BATCH = ("micro_batch_size", "gradient_accumulation_steps")


def adapter_of(layers: Layers) -> str:
    """Return which SFT recipe is meant: the last layer's `adapter`, `full` for none; qlora where nobody says."""
    for _, layer in reversed(layers):
        if "adapter" in layer:
            return layer["adapter"] or "full"
    return "qlora"


def hardware_layer(folders: tuple[Path, ...], gpus: int, section: str) -> tuple[str, Mapping[str, Any]]:
    """Return what the recipe must change on this kind of machine."""
    kind = "gpu" if gpus else "cpu"
    file = find_template(folders, f"hardware/{kind}.yaml")
    values = parse_yaml(template_text(file), str(file)).get(section) or {}
    if not isinstance(values, dict):
        what = f"{section} is no mapping of keys"
        raise ConfigError(
            what, where=f"{file}, key {section}", fix="write `key: value` lines", code="config.not_a_mapping"
        )
    check_section(section, values, file)
    return f"{_HARDWARE}{kind}.yaml", values


def with_own_batch(layers: Layers) -> Layers:
    """Return the layers without the machine's cut of the batch where a preset or the user names a part of it.

    One of the two numbers beside the other hand's would be a global batch that nobody asked for.
    """
    if not any(key in layer for name, layer in layers if not name.startswith(_HARDWARE) for key in _BATCH):
        return layers
    return [
        (name, {k: v for k, v in layer.items() if not (name.startswith(_HARDWARE) and k in _BATCH)})
        for name, layer in layers
    ]


def chat_template_text(text_or_file: str | None) -> str | None:
    """Return the chat template that axolotl's chat_template_jinja holds, or names as a file.

    Raises ConfigError for the name of a file that is not there, which would be every conversation's text.
    """
    file = chat_template_file(text_or_file)
    if file is not None:
        return template_text(file)
    if isinstance(text_or_file, str) and text_or_file.strip() and "{" not in text_or_file:
        raise ConfigError(
            "chat_template_jinja names no file, and is no template itself",
            where=f"key sft.chat_template_jinja: {text_or_file[:200]}",
            fix="correct the path; relative ones begin where alphaf is started, or beside the config",
            code="config.template_no_file",
        )
    return text_or_file


def chat_template_file(text_or_file: str | None) -> Path | None:
    """Return the file that axolotl's chat_template_jinja names; None where it holds a template, or nothing."""
    one_line = isinstance(text_or_file, str) and 0 < len(text_or_file) < 1000 and "\n" not in text_or_file
    if one_line and os.path.exists(str(text_or_file)):  # noqa: PTH110  (False for a text that no path is as long as)
        return Path(str(text_or_file))
    return None


def chat_settings(preset: ModelPreset, layers: Layers) -> dict[str, Any]:
    """Return what a preset and the layers over it say of chat template and tokens, under axolotl's keys.

    `chat_template_jinja` is a text, None where the template has a name.
    """
    found: dict[str, Any] = {
        "chat_template": preset.chat_template,
        "special_tokens": preset.special_tokens.model_dump(),
        "tokens": preset.tokens,
        "chat_template_jinja": None,
    }
    for _, layer in layers:
        for key in layer.keys() & found.keys():
            value = layer[key]
            found[key] = {**found[key], **value} if key == "special_tokens" and value else value
    _check_together(found, [layer for name, layer in layers if name == "yours"])
    file = chat_template_file(found["chat_template_jinja"])
    found["chat_template_jinja"] = chat_template_text(found["chat_template_jinja"])
    return found | {"chat_template_file": str(file) if file else None}


def _check_together(found: Mapping[str, Any], said: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError where the user names a template that axolotl would not read, or none where it reads one."""
    given = any(layer.get("chat_template_jinja") for layer in said)
    if given and found["chat_template"] != "jinja":
        raise ConfigError(
            f"chat_template is {found['chat_template']}, with which chat_template_jinja is not read",
            where="key sft.chat_template_jinja",
            fix="add chat_template: jinja (--set sft.chat_template=jinja)",
            code="config.template_not_read",
        )
    if found["chat_template"] == "jinja" and not found["chat_template_jinja"]:
        raise ConfigError(
            "chat_template is jinja, and no template is named",
            where="key sft.chat_template",
            fix="add chat_template_jinja: FILE (--set sft.chat_template_jinja=FILE)",
            code="config.template_not_named",
        )


def render_recipe(template: Path, variables: Mapping[str, Any], layers: Layers, section: str) -> Rendered:
    """Return the recipe with its layers put in; every key is known to the tool and every value of its type."""
    rendered = override(render(template, variables), layers, str(template))
    check_rendered(section, rendered.values, str(template), rendered.text)
    return rendered


def keep_global_batch(recipe: Rendered, layers: Layers, *, written_for: int, gpus: int, option: str) -> dict[str, int]:
    """Return the accumulation that keeps the global batch on `gpus` devices; nothing where it stays as it is.

    global batch = written_for * micro_batch_size * gradient_accumulation_steps; a user's own
    gradient_accumulation_steps is taken as it is. A micro_batch_size that the machine's layer chose becomes smaller
    where the batch has fewer rows for each device. Raises ConfigError where the batch cannot be cut up evenly.
    """
    ranks = max(1, gpus)
    if ranks == max(1, written_for) or any(
        "gradient_accumulation_steps" in layer for name, layer in layers if not name.startswith(("model ", _HARDWARE))
    ):
        return {}
    micro = int(recipe.values["micro_batch_size"])
    wanted = max(1, written_for) * micro * int(recipe.values["gradient_accumulation_steps"])
    chosen = [name for name, layer in layers if "micro_batch_size" in layer][-1:]
    if chosen and chosen[0].startswith(_HARDWARE) and wanted % ranks == 0 and wanted % (ranks * micro):
        micro = math.gcd(micro, wanted // ranks)
        return {"micro_batch_size": micro, "gradient_accumulation_steps": wanted // (ranks * micro)}
    steps, rest = divmod(wanted, ranks * micro)
    if rest:
        most = min(written_for if ranks <= written_for else 2 * ranks, wanted // micro)
        workable = [n for n in range(1, most + 1) if wanted % (n * micro) == 0]
        raise ConfigError(
            f"a global batch of {wanted} cannot be cut into {ranks} GPUs x micro_batch_size {micro}",
            where=option,
            fix=f"use one of {', '.join(map(str, workable))} GPUs, or set micro_batch_size or"
            " gradient_accumulation_steps yourself",
            code="config.batch_not_divisible",
        )
    return {"gradient_accumulation_steps": steps}


def global_batch(recipe: Rendered, gpus: int) -> int:
    """Return devices x micro_batch_size x gradient_accumulation_steps."""
    return max(1, gpus) * int(recipe.values["micro_batch_size"]) * int(recipe.values["gradient_accumulation_steps"])
