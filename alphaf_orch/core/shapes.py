"""The shapes of the JSON files that a run consists of, as far as anything of them is read.

A key that nobody names here may hold anything: later and earlier versions write others.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    model_validator,
)
from typing_extensions import TypedDict


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _day(text: str) -> str:
    date.fromisoformat(text)
    return text


def _none_of_nothing(value: object) -> object:
    return None if value == {} else value


Moment = Annotated[str, AfterValidator(_moment)]
Day = Annotated[str, AfterValidator(_day)]
Count = Annotated[int, Field(ge=0, le=1 << 63)]
Number = FiniteFloat
Object = dict[str, Any]


class Shape(BaseModel):
    """A JSON object whose named keys are of these types; it may have others."""

    model_config = ConfigDict(extra="allow", strict=True, defer_build=True)


@cache
def lines_of(shape: type[Shape]) -> TypeAdapter[dict[str, Any]]:
    """Return what reads a line of JSON of this shape into a dict as it stands, in a third of the time of a model."""
    hints = get_type_hints(shape, include_extras=True)
    line = TypedDict("line", {name: hints[name] for name in shape.model_fields}, total=False)  # type: ignore[misc]
    line.__pydantic_config__ = shape.model_config  # type: ignore[attr-defined]
    return TypeAdapter(line)


class Origin(Shape):
    """Who set a value of a recipe."""

    by: str
    recipe: str | None


class Handled(Shape):
    """What a merge had to see to."""

    notes: list[str] = []


class Result(Shape):
    """What a finished stage found out."""

    steps: Count | None = None
    loss_first: Number = 0.0
    loss_last: Number = 0.0
    eval_loss: float | None = None  # what a trainer logs may be NaN
    accuracies: float | None = Field(None, alias="rewards/accuracies")
    margins: float | None = Field(None, alias="rewards/margins")
    contract: dict[str, bool] | None = None
    identity: str | None = None
    handled: Handled = Handled()
    backend: str | None = None
    model_rows: Any = None

    @model_validator(mode="after")
    def _both_losses(self) -> Self:
        if ("loss_first" in self.model_fields_set) != ("loss_last" in self.model_fields_set):
            raise ValueError("of loss_first and loss_last one is missing")
        return self


class Spec(Shape):
    """What a stage was made from."""

    recipe: Object = {}
    partners: list[Any] = []


class Stage(Shape):
    """One stage of a run as it was begun and ended, as far as its models are asked."""

    state: str | None = None
    fingerprint: str | None = None
    started: str | None = None
    spec: Spec = Spec()
    ended: str | None = None
    seconds: Annotated[Number, Field(ge=0)] | None = None
    peak_memory_mib: Number | None = None
    error: str | None = None
    code: str | None = None  # the error's identifier
    result: Result = Field(default_factory=lambda: Result.model_validate({}))
    argv: list[str] | None = None
    rendered: dict[str, str] = {}
    environment: list[str] = []
    origins: dict[str, Origin] | None = None
    versions: dict[str, str | None] = {}
    job: str | None = None  # of a scheduler, that began it


class WholeStage(Stage):
    """One stage of a run with what every version has written of one; planning and reports stand on it."""

    state: Annotated[str, Field(min_length=1)]
    fingerprint: Annotated[str, Field(min_length=1)]
    started: str
    spec: Spec

    @model_validator(mode="after")
    def _an_end(self) -> Self:
        if self.state == "done" and self.ended is None:
            raise ValueError("it is done, and `ended` is missing")
        return self


class Source(Shape):
    """Data of a run."""

    path: str
    kind: str | None = None
    rows: Count | None = None
    sha256: str | None = None
    taken_as: str | None = None
    config: str | None = None
    split: str | None = None
    commit: str | None = None


class Partner(Shape):
    """A model that the run's own was merged with."""

    model: str
    revision: str | None = None
    licence: str | None = None


class Dated(Shape):
    """A record with a date: of a run, of an experiment, or of something else that lies where theirs would."""

    format: Any = None
    stages: dict[str, Stage] = {}
    created: str | None = None
    date: Day | None = None


class Manifest(Dated):
    """The record of a run."""

    format: Literal[1]
    stages: dict[str, Stage]
    run: str | None = None
    alphaf: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    machine: dict[str, str] = {}
    model: str | None = None
    base_model: str | None = None
    base_revision: str | None = None
    licence: str | None = None
    data: dict[str, list[Source]] = {}
    merge_partners: list[Partner] = []
    config: Object | None = None  # the settings once more, with which `alphaf repair` puts config.yaml back


class Arm(Shape):
    """One arm of an experiment."""

    name: str
    variant: str
    values: Object
    seed: int | None
    model: str
    state: str
    exit_code: int
    error: str
    code: str = ""


class Arms(Shape):
    """What was submitted of an experiment: ids by run and job, and which run makes what another takes over."""

    jobs: dict[str, dict[str, str]] = {}
    shared: dict[str, dict[str, str]] = {}


class Experiment(Shape):
    """The record of an experiment."""

    format: Literal[1]
    name: str
    kind: str
    created: Moment
    date: Day | None = None
    request: Object
    sections: list[Literal["sft", "dpo"]] = []
    evaluations: list[Object] = []
    asked: list[str]
    arms: list[Arm]
    submitted: Arms = Arms()


class Job(Shape):
    """A job that was handed to a scheduler."""

    format: Literal[1]
    run: str
    name: str
    scheduler: str
    job_id: str
    stage: str | None = None
    at: Moment
    argv: list[str] = []
    after: list[str] = []
    nodes: Count = 1
    gpus: Count = 0
    max_requeues: Count = 0
    planned: Object = {}


class Tokens(Shape):
    """How many tokens the rows have."""

    total: Count
    max: Count


class Longer(Shape):
    """The rows that are longer than the sequence."""

    rows: Count
    share: Number


class Kept(Shape):
    """What is left of the rows once they are cut and packed."""

    rows: Count | None = None
    tokens: Count | None = None
    packed: Count | None = None


class HeldOut(Shape):
    """The rows that are kept for evaluation: nothing is said of them where none are."""

    rows: Count | None = None
    trained_on: Count | None = None


class Line(Shape):
    """One line of the hand-off contract."""

    line: str
    ok: bool
    detail: str | None = None


class Report(Shape):
    """What a stage found out, in full: the statistics of rows, or the hand-off contract."""

    rows: Count | None = None
    sequence_len: Annotated[int, Field(gt=0)] | None = None
    tokens: Tokens | None = None
    longer_than_sequence_len: Longer | None = None
    kept: Kept | None = None
    held_out: Annotated[HeldOut | None, BeforeValidator(_none_of_nothing)] = None  # {}: none are
    unknown_keys: dict[str, Any] | list[str] | None = None
    unused_keys: dict[str, Any] | list[str] | None = None
    ok: bool | None = None
    lines: list[Line] | None = None
