"""The settings of the DPO program: a flat YAML file read into one frozen value, with no hidden default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError

from alphaf_orch.programs.common import CONFIG, Failure
from alphaf_orch.programs.tracker_keys import Trackers

# Strict: YAML 1.1 reads 5e-6 as a text and `yes` as true, and neither may pass for something else.
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Strict(), Field(ge=0, lt=1)]
CHOICES = ("bool", "int", "str")  # what pydantic calls the choices of a union


@dataclass(frozen=True)
class DatasetSpec:
    """One preference dataset: a local file or folder, or a Hub id at a revision.

    `path` may be the canonical copy of `origin`, of which nothing read the columns in `unused`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    path: Text
    kind: Literal["local", "hub"]
    split: Text | None = None
    revision: Text | None = None
    origin: Text | None = None
    unused: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class DpoConfig(Trackers):
    """Every setting of one DPO run, under axolotl's names where it has one; only nullable keys may lack."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    base_model: Text
    output_dir: Text
    datasets: Annotated[list[DatasetSpec], Field(min_length=1)]
    backend: Literal["auto", "unsloth", "transformers"]
    """What trains: unsloth on CUDA, plain transformers elsewhere (auto)."""
    load_in_4bit: Flag
    bf16: Flag | Literal["auto"]
    trust_remote_code: Flag
    sequence_len: Count
    beta: Positive
    """How strongly the trained model is held to the one it began as."""
    # TRL's exo_pair and robust need a label_smoothing of their own; sft is no preference loss.
    loss_type: Literal["sigmoid", "hinge", "ipo", "apo_zero", "apo_down", "sigmoid_norm", "nca_pair"]
    """TRL's preference loss."""
    learning_rate: Positive
    lr_scheduler: Text
    warmup_ratio: Fraction
    num_epochs: Positive
    micro_batch_size: Count
    gradient_accumulation_steps: Count
    optimizer: Text
    weight_decay: NotNegative
    max_grad_norm: NotNegative
    adam_beta1: Fraction
    adam_beta2: Fraction
    adam_epsilon: Positive
    lora_r: Count
    lora_alpha: Count
    lora_dropout: Fraction
    lora_target_modules: Annotated[list[Text], Field(min_length=1)]
    gradient_checkpointing: Flag
    val_set_size: NotNegative  # below 1 a share of the rows, else a number of rows (axolotl's meaning)
    seed: Annotated[int, Strict(), Field(ge=0)]
    logging_steps: Count
    save_steps: Count
    save_total_limit: Count
    max_steps: Count | Literal[-1] | None = None  # null, or transformers' -1: all of num_epochs
    eval_steps: Count | None = None  # null: at the end of each epoch
    dataset_num_proc: Count | None = None
    probe: Text | None = None


def load_config(path: Path) -> DpoConfig:
    """Return the settings in the YAML file; raise Failure for unknown keys and wrong types."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(DpoConfig).validate_python(raw)
    except OSError as error:
        what = f"cannot read the DPO config: {error.strerror}"
        raise Failure(CONFIG, what, where=path, fix="check the path", code="config.unreadable") from error
    except yaml.YAMLError as error:
        what = f"the DPO config is not YAML: {error}"
        raise Failure(CONFIG, what, where=path, fix="mend the file", code="config.invalid_yaml") from error
    except ValidationError as error:
        what = f"the DPO config cannot be used: {'; '.join(_problems(error))}"
        raise Failure(CONFIG, what, where=path, fix="mend the recipe (dpo.yaml)", code="config.wrong_value") from error


def _problems(error: ValidationError) -> list[str]:
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # A union reports every choice it tried and names it in the place: keep the key, and the first report.
        parts = [str(part) for part in item["loc"] if part not in CHOICES and not str(part).endswith("]")]
        known = {"unexpected_keyword_argument": "unknown key", "missing": "missing key"}
        problem = known.get(item["type"]) or f"{item['input']!r}: {item['msg']}{_hint(item['input'])}"
        problems.setdefault(".".join(parts), problem)
    return [f"{key or 'the file'}: {problem}" for key, problem in problems.items()]


def _hint(value: object) -> str:
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " (YAML reads this as a text: write numbers as 5.0e-6, without quotes)"
