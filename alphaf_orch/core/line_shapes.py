"""The shapes of what a judge and a training leave behind, in figures and line by line, as far as it is read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from typing_extensions import TypedDict

from alphaf_orch.core.shapes import Count, Number, Shape


class Figure(Shape):
    """A figure of a judging with its interval."""

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None


class Controlled(Shape):
    """The win rate with the length of the answers taken out."""

    win_rate: Figure | None = None


class Cause(Shape):
    """Why verdicts are missing."""

    end: Literal["unreadable", "refused", "unanswered"]
    why: str
    verdicts: Count


class VotedStage(Shape):
    """The votes on one model's answers."""

    rows: Count | None = None
    right: Number | None = None
    share: Figure | None = None
    without_vote: Count | None = None
    unanimous: Number | None = None


class Summary(Shape):
    """The figures of a judged comparison, or of votes."""

    a: str | None = None
    b: str | None = None
    judged: Count | None = None
    wins: Count | None = None
    ties: Count | None = None
    losses: Count | None = None
    win_rate: Figure | None = None
    length_controlled: Controlled | None = None
    position_bias: Figure | None = None
    consistency: Number | None = None
    parse_failures: Count | None = None
    verdicts: Count | None = None
    incomplete: Count | None = None
    causes: list[Cause] | None = None
    stages: dict[str, VotedStage] | None = None
    without_row: Count | None = None


class Usage(TypedDict):
    """What a server counted of one question."""

    __pydantic_config__ = Shape.model_config  # type: ignore[misc]  # how pydantic is told
    prompt_tokens: Count
    completion_tokens: Count


class Verdict(Shape):
    """One line of verdicts or votes; which keys it has is for their readers to ask."""

    id: str | None = None
    order: str | None = None
    stage: str | None = None
    number: Count | None = None
    category: str = ""
    prompt_set: str = ""
    a_chars: Count = 0
    b_chars: Count = 0
    winner: str | None = None
    vote: str | None = None
    reason: str | None = None
    refused: str | bool | None = None
    keys: dict[str, str] | None = None
    usage: Usage | None = None
    attempts: Count = 0
    seconds: Number = 0.0
    judge: str = ""


class MetricsRow(Shape):
    """One line of a training's metrics."""

    time: Number | None = None
    step: Count | None = None
    max_steps: Count | None = None
    loss: float | None = None
    eval_loss: float | None = None
    grad_norm: float | None = None
    learning_rate: float | None = None
    tokens_per_s: Number | None = None
    peak_memory_mib: Number | None = None
    eval_runtime: Number | None = None
    eval_samples_per_second: Number | None = None
    train_loss: float | None = None
    world_size: Count | None = None
    non_finite: list[str] = Field(default_factory=list)
    chosen: float | None = Field(None, alias="rewards/chosen")
    margins: float | None = Field(None, alias="rewards/margins")
    accuracies: float | None = Field(None, alias="rewards/accuracies")
