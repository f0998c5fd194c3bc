"""Whether a model was asked as it was trained: template, special tokens and every prompt; and what else to know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import StageError
from alphaf_orch.evaluation.lm_eval_output import LmEvalOutput
from alphaf_orch.runs.reference import TrainedSystems
from alphaf_orch.scores.results import Sample

_CUT = re.compile(r"left truncat|truncating", re.IGNORECASE)


def check_template(output: LmEvalOutput, stage: str, facts: Mapping[str, Any]) -> None:
    """Raise StageError where lm-eval used another chat template or other special tokens than training."""
    values = output.values
    pairs = {"chat template": (values.get("chat_template_sha"), facts["chat_template_sha256"])}
    for name in ("eos", "pad", "bos"):
        if facts[name][0] is not None:  # lm-eval gives itself a pad token where there is none
            pairs[f"{name} token"] = (values.get(f"tokenizer_{name}_token"), [facts[name][0], str(facts[name][1])])
    for what, (used, trained) in pairs.items():
        if used != trained:
            raise StageError(
                f"the {stage} model was asked with another {what} than it was trained with",
                where=f"{output.file}: {used!r}, trained: {trained!r}",
                fix="the scores were not kept; check the tokenizer files of the model's folder",
                code="stage.other_prompt",
            )


def check_prompts(samples: Sequence[Sample], config: Mapping[str, Any], facts: Mapping[str, Any], where: Path) -> None:
    """Raise StageError where a prompt is not what the chat template makes of the task's system text and the row.

    The template was rendered once around stand-ins, by the trained tokenizer; what it wrote before, between and
    behind them must enclose the texts of every prompt.
    """
    behind, prefix = facts["without_system"][2], config.get("gen_prefix")
    for sample in samples:
        _, found, said = sample.prompt.rpartition(behind)
        ended = found and _is_prefix(said, prefix, sample)
        if not (ended and sample.prompt.startswith(_beginnings(config.get("description"), sample, facts))):
            raise StageError(
                f"the prompt of {sample.id} is not what the chat template makes of it",
                where=f"{where}: {sample.prompt[:160]!r} … {sample.prompt[-60:]!r}",
                fix="the scores were not kept; a task writes no part of the chat template itself",
                code="stage.other_prompt",
            )


def _beginnings(description: Any, sample: Sample, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how a prompt may begin: everything before the user's text, as far as it is the same for all rows."""
    if not description or facts["with_system"] is None:
        return ("".join(facts["without_system"][:2]),)
    before, between, _ = facts["with_system"]
    # A function, a column of the row or variables make a text that differs from row to row.
    if type(description) is not str or "{" in description or description in sample.details:
        return (before,)
    return tuple(f"{before}{text}{between}" for text in (description, description.strip()))


def _is_prefix(said: str, prefix: Any, sample: Sample) -> bool:
    """Return whether what stands behind the template's end is how the task begins the answer: mostly nothing."""
    if not prefix:
        return said == ""
    if type(prefix) is not str or "{" in prefix or prefix in sample.details:
        return True  # differs from row to row
    return said.strip() == prefix.strip()  # a template that trims drops its last space


def system_facts(config: Mapping[str, Any], trained: TrainedSystems | None) -> dict[str, Any]:
    """Return the task's system text, and whether the run's training samples had it."""
    text = config.get("description") or None
    text = text if text is None or isinstance(text, str) else f"!function {text}"
    return {
        "system": text,
        "system_in_training": None if trained is None or text is None else text.strip() in _stripped(trained),
        "training_samples": None if trained is None else trained.conversations,
        "training_samples_with_system": None if trained is None else trained.with_system,
    }


def system_warnings(task: str, system: Mapping[str, Any], facts: Mapping[str, Any] | None) -> list[str]:
    """Return what to know about a task's system text before its scores are believed."""
    found = []
    every = system["training_samples"] and system["training_samples"] == system["training_samples_with_system"]
    if every and not system["system"]:
        found.append(f"{task} has no system text; every conversation looked at in the training data had one")
    if facts and system["system"] and facts["with_system"] is None:
        found.append(f"the chat template has no place for the system text of {task}: it was left out")
    return found


def cut_prompts(log: Path) -> list[str]:
    """Return a warning where lm-eval's last process says that it cut prompts."""
    cut = False
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            cut = not line.startswith("$ ") and (cut or _CUT.search(line) is not None)
    if not cut:
        return []
    return ["prompts longer than the model can read were cut at their beginning; these rows count as asked"]


def _stripped(trained: TrainedSystems) -> set[str]:
    return {text.strip() for text in trained.texts}
