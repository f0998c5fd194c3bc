"""The shapes of what would be done and was handed over: plans, estimates, jobs, bundles."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from alphaf_orch.estimates.memory import Memory
from alphaf_orch.estimates.ranges import Range
from alphaf_orch.planning.forecast import Hardware


class StageEstimate(TypedDict):
    """What one stage takes; bytes and seconds, null for what is not known."""

    name: str
    section: str | None
    memory: Memory | None
    peak: Range | None
    room: int
    largest_micro_batch_size: int | None
    rows: int | None
    rows_basis: str
    steps: Range | None
    tokens: Range | None
    tokens_per_s: Range | None
    seconds: Range | None
    memory_basis: str
    time_basis: str
    note: str
    memory_total: int | None
    memory_recorded: int | None
    fits: bool | None


class Estimate(TypedDict):
    """What the stages still to run take together; `price` only with --rate."""

    run: str
    hardware: Hardware
    gpus: int
    stages: list[StageEstimate]
    disk_bytes: int
    seconds: Range | None
    gpu_hours: Range | None
    price: Range | None


class Engine(TypedDict):
    """What shares the training out over GPUs, and why it."""

    name: str
    reason: str
    offload: bool


class Source(TypedDict):
    """A data set: what it was taken as, and keys of its rows that nothing reads."""

    path: str
    taken_as: str | None
    rows: int | None
    unused_keys: dict[str, int]


class Allowed(TypedDict):
    """The flags that let files in that run code, and which files those are: kind, model, name."""

    flags: list[str]
    files: list[list[str]]


class PlannedStage(TypedDict):
    """One stage with its command and every file that it reads, whole."""

    name: str
    state: Literal["new", "cached", "resume", "changed", "damaged"]
    reason: str
    fingerprint: str
    argv: list[str]
    environment: dict[str, str]
    files: dict[str, str]


class JobFile(TypedDict):
    """A file that a scheduler would be given, whole, for which jobs, and the commands that hand it over."""

    jobs: list[str]
    path: str
    text: str
    commands: list[list[str]]


class Plan(TypedDict):
    """What would run and why; `lacks` is what a launch here would be refused for.

    `scratch` holds the files of a dry run, `jobs` those for a scheduler.
    """

    run: str
    folder: str
    model: str
    gpus: dict[str, int]
    nodes: dict[str, int]
    engine: Engine
    data: dict[str, list[Source]]
    allowed: Allowed
    disk_bytes: int
    estimate: Estimate
    lacks: list[str]
    scratch: str | None
    stages: list[PlannedStage]
    jobs: NotRequired[list[JobFile]]


class Jobs(TypedDict):
    """What a scheduler would be given for one call on a run."""

    run: str
    on: str
    jobs: list[JobFile]


class Submission(TypedDict):
    """Ids by job of what was submitted and of what was under way before; `exit_code` with --wait."""

    run: str
    submitted: dict[str, str]
    under_way: dict[str, str]
    exit_code: NotRequired[int]


class PlannedArm(TypedDict):
    """One arm: its commands, its estimate, in which lines its files differ from the first one's, what it lacks."""

    arm: str
    variant: str
    seed: int | None
    commands: list[list[str]]
    estimate: Estimate
    difference: str | None
    lacks: str | None


class ExperimentPlan(TypedDict):
    """What an ablation or a bake-off would run."""

    experiment: str
    kind: Literal["ablation", "bakeoff"]
    folder: str
    arms: list[PlannedArm]
    jobs: list[JobFile]


class Asks(TypedDict):
    """A model and a task that it is asked."""

    stage: str
    task: str


class EvalWork(TypedDict):
    """A process that would be started: what it asks, its command, its files."""

    name: str
    asks: list[Asks]
    argv: list[str]
    files: dict[str, str]


class EvalPlan(TypedDict):
    """What would be asked; `cached` are the tasks by stage whose scores are kept."""

    run: str
    cached: dict[str, list[str]]
    work: list[EvalWork]


class JudgePlan(TypedDict):
    """Who would judge which two models; the model is null where the server's only one is meant."""

    run: str
    a: str | None
    b: str | None
    url: str
    model: str | None


class PlannedCandidate(TypedDict):
    """One merge that would be tried."""

    name: str
    values: dict[str, float]
    state: Literal["new", "cached", "resume", "changed", "damaged"]
    reason: str
    argv: list[str]
    files: dict[str, str]


class SweepPlan(TypedDict):
    """What a sweep of merges would try."""

    run: str
    candidates: list[PlannedCandidate]


class Bundle(TypedDict):
    """A bundle, or with `dry_run` what would come into it; `manifest_sha256` is what the installer is to be told."""

    folder: str
    dry_run: bool
    manifest_sha256: str | None
    lines: list[str]
