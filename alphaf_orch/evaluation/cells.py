"""What is evaluated, one model on one task a cell, and what all cells of an evaluation share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.evaluation.options import Target
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.runs.chain import ChainModel
from alphaf_orch.runs.reference import Reference, tokenizer_identity


@dataclass(frozen=True)
class Cell:
    """One model on one task, with the key under which its scores are kept."""

    model: ChainModel
    task: Task
    settings: Mapping[str, Any]
    key: str


@dataclass(frozen=True)
class Place:
    """What all stages of one evaluation share: the run, the tools' python, the tokenizer, the devices."""

    paths: RunPaths
    python: str
    reference: Reference
    target: Target
    trust_remote_code: bool
    machine: Machine
    env: Mapping[str, str]
    asking_python: str | None = None  # where lm-eval runs, if not beside the other tools: vLLM does not fit there

    @property
    def scratch(self) -> Path:
        """Return the folder of what is not finished."""
        return self.paths.scratch("eval")

    def tokenizer_report(self) -> Path:
        """Return what the tokenizer stage found."""
        return self.scratch / "tokenizer.json"

    def tokenizer(self, model: ChainModel) -> Path:
        """Return the tokenizer a model is asked with; the base model's is put there by the tokenizer stage."""
        if model.tokenizer:
            return Path(model.tokenizer)
        if model.stage == "base" or self.reference.folder is None:
            return self.scratch / "tokenizer_base"
        return self.reference.folder

    def tokenizer_identity(self, model: ChainModel) -> str:
        """Return a hash of the tokenizer and chat template that a model is asked with."""
        return tokenizer_identity(Path(model.tokenizer)) if model.tokenizer else self.reference.identity

    def output(self, stage: str) -> Path:
        """Return the folder lm-eval writes into."""
        return self.scratch / stage / "output"
