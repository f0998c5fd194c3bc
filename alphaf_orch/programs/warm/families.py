"""Which programs share their imports: a family of tools for each, and what it imports. Light: both sides read it."""

from __future__ import annotations

from collections.abc import Sequence

# What begins a program's name, and the family of tools that it needs; the first that fits. None starts cold.
_PROGRAMS = (
    ("alphaf_orch.programs.training.dpo", "trl"),
    ("alphaf_orch.programs.training.", "axolotl"),
    ("alphaf_orch.programs.merging.merge_models", "mergekit"),
    ("alphaf_orch.programs.merging.", "axolotl"),
    ("alphaf_orch.programs.evaluation.run_lm_eval", "lm_eval"),
    ("alphaf_orch.programs.evaluation.task_index", None),  # it looks for files, and imports no tool
    ("alphaf_orch.programs.versions", None),
    ("alphaf_orch.programs.evaluation.chat", None),  # it is given the user's own terminal
    ("alphaf_orch.programs.models.fetch_model", None),  # online, as no parent is
    ("alphaf_orch.programs.", "base"),
    ("axolotl.", "axolotl"),
)
# Started with this variable and as long a last word, a process has room for what others see of it: forks of it are
# other programs, found by other marks.
ROOM = "_ALPHAF_ROOM"
ROOM_BYTES = 8192
LAUNCHER = "accelerate.commands.accelerate_cli"

# Imported once, in this order; what an environment lacks is passed over. `base` lies below every other family.
MODULES = {
    "base": (
        "torch", "numpy", "transformers", "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto", "transformers.models.llama.modeling_llama",
        "transformers.models.qwen2.modeling_qwen2", "transformers.trainer", "datasets", "tokenizers",
        "safetensors.torch", "accelerate.commands.launch", "accelerate.commands.accelerate_cli", "peft",
        "huggingface_hub", "gguf",
    ),
    "axolotl": (
        "axolotl.cli.train", "axolotl.cli.preprocess", "axolotl.cli.merge_lora", "axolotl.train", "axolotl.loaders",
        "axolotl.common.datasets", "axolotl.core.builders", "axolotl.utils.trainer", "axolotl.prompt_strategies",
        "bitsandbytes",
    ),
    "trl": ("trl", "trl.trainer.dpo_trainer", "bitsandbytes"),
    "lm_eval": ("lm_eval.__main__", "lm_eval.evaluator", "lm_eval.models.huggingface", "lm_eval.tasks"),
    "mergekit": ("mergekit.merge", "mergekit.config", "mergekit.architecture"),
}  # fmt: skip


def module(words: Sequence[str]) -> str | None:
    """Return the module that `python WORDS` runs as its program, None where it is no `-m NAME`."""
    return words[1] if len(words) > 1 and words[0] == "-m" else None


def family(words: Sequence[str]) -> str | None:
    """Return the family that serves `python WORDS`, None for what starts cold.

    A launcher belongs to the family of what it launches: its one process is forked from it in turn.
    """
    name = module(words)
    if name == LAUNCHER and "-m" in words[2:]:
        name = words[words.index("-m", 2) + 1]
    return next((found for start, found in _PROGRAMS if name and name.startswith(start)), None)
