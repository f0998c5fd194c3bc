"""SFT keys that are not the user's: those that the plan sets, and values with which no training could be judged."""

from __future__ import annotations

from typing import Any

from alphaf_orch.core.errors import ConfigError

# What the plan sets in an SFT recipe: another value would lose outputs, lineage or a later stage's input.
SET_BY_THE_PLAN = {
    "base_model": "--model",
    "revision_of_model": "base_revision in the config",
    "model_revision": "base_revision in the config",
    "datasets": "--data, or datasets in the config",
    "output_dir": "--run and ALPHAF_RUNS",
    "dataset_prepared_path": "--run and ALPHAF_RUNS",
    "lora_model_dir": "--run",
    "trust_remote_code": "--trust-remote-code",
    "resume_from_checkpoint": "the same command again: it resumes by itself",
    "auto_resume_from_checkpoints": "the same command again: it resumes by itself",
    "rl": "alphaf dpo",
    "save_safetensors": "nothing: merges read safetensors",
}
# The values that keys take by which a training could end without proof of its end: all others lose finished trainings.
NO_ENDS: dict[str, tuple[Any, ...]] = {
    "save_strategy": ("steps", "epoch", None),
    "early_stopping_patience": (None, 0),
}


def check_free(key: str, value: Any, where: str) -> None:
    """Raise ConfigError for an SFT key that the plan itself sets, or a value that would lose every finished training.

    Training is finished when a checkpoint stands at the planned step.
    """
    if key in SET_BY_THE_PLAN:
        raise ConfigError(
            f"{key} is set by alphaf", where=where, fix=f"use {SET_BY_THE_PLAN[key]}", code="config.set_by_alphaf"
        )
    if key == "save_strategy" and value not in NO_ENDS[key]:
        raise ConfigError(
            f"save_strategy is {value!r}: no checkpoint would prove that the training reached its end",
            where=where,
            fix="use steps or epoch; save_total_limit bounds the disk they take",
            code="config.set_by_alphaf",
        )
    if key == "early_stopping_patience" and value not in NO_ENDS[key]:
        raise ConfigError(
            "early_stopping_patience would end the training before its planned step, as a crash does",
            where=where,
            fix="set num_epochs or max_steps; eval_loss is logged every eval_steps",
            code="config.set_by_alphaf",
        )
