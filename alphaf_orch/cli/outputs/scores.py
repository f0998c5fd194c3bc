"""The shapes of what was found: scores, verdicts, comparisons, rankings."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from alphaf_orch.scores.difference import Verdict
from alphaf_orch.scores.preference import Estimate, LengthControlled
from alphaf_orch.scores.results import TaskResult


class Eval(TypedDict):
    """Every result by stage and task, with everything that the figures depend on."""

    run: str
    results: dict[str, dict[str, TaskResult]]


class Task(TypedDict):
    """A task: its suites, its rows and scores, and whether its rows are on this machine."""

    task: str
    suites: list[str]
    suite_titles: dict[str, dict[str, str]]
    type: str
    rows: int | None
    main_metric: str
    metrics: list[str]
    data: str
    here: bool
    title: dict[str, str]
    cluster: list[str]


class Tasks(TypedDict):
    """The tasks that there are."""

    tasks: list[Task]


class Cause(TypedDict):
    """Why verdicts could not be read, or were refused."""

    end: str
    why: str
    verdicts: int


class Tokens(TypedDict):
    """What the server counted, and for how many verdicts it did not."""

    prompt: int
    completion: int
    verdicts_without_count: int


class Judged(TypedDict):
    """What became of everything that a judge was asked."""

    format: int
    folder: str
    judge: str
    verdicts: int
    parse_failures: int
    refusals: int
    causes: list[Cause]
    retried: int
    requests: int
    tokens: Tokens
    judging_s: float
    judged: int
    unreadable: int
    refused: int
    unanswered: int
    without_row: int


class Won(TypedDict):
    """How often the first model won, over some prompts."""

    wins: int
    ties: int
    losses: int
    win_rate: Estimate


class Chars(TypedDict):
    """The mean length of the answers in characters."""

    a: float | None
    b: float | None


class Judge(Judged, Won):
    """Which of two models answers better, with intervals and what makes the judge believable or not."""

    a: str
    b: str
    prompt_set: str
    prompts: int
    incomplete: int
    length_controlled: LengthControlled
    position_bias: Estimate
    consistency: float | None
    identical_answers: int
    mean_chars: Chars
    categories: dict[str, Won]


class Voted(TypedDict):
    """The share of right answers of one model."""

    rows: int
    without_vote: int
    right: int
    share: Estimate
    unanimous: float | None


class JudgeVotes(Judged):
    """The share of right answers of each model by a judge's votes."""

    source: str
    stages: dict[str, Voted]


class Difference(TypedDict):
    """The later model less the earlier one: 95% interval, p alone and corrected (Holm), one score a seed of each."""

    estimate: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    verdict: Verdict
    rows: int
    before: list[float]
    after: list[float]
    higher_is_better: bool | None


class TaskDifference(Difference):
    """The difference in one score of a task; a `share` is shown as a percentage."""

    task: str
    metric: str
    share: bool


class Comparison(TypedDict):
    """One variant against the first: the sentence to conclude, the overall score, each task, what was left out."""

    before: str
    after: str
    seeds: list[int | None]
    verdict: str
    overall: Difference | None
    tasks: list[TaskDifference]
    refused: dict[str, str]


class EndedArm(TypedDict):
    """One arm and how it ended."""

    arm: str
    variant: str
    seed: int | None
    state: Literal["done", "failed", "interrupted", "not started", "under way"]
    exit_code: int
    seconds: float
    error: str | None
    code: str | None


class Ablation(TypedDict):
    """What an ablation found; `files` are its report."""

    experiment: str
    kind: Literal["ablation"]
    folder: str
    stage: str
    arms: list[EndedArm]
    comparisons: list[Comparison]
    warnings: list[str]
    files: list[str]


class Place(TypedDict):
    """A candidate's place among `of`; null where criteria lack that others have (`whole` is false then)."""

    candidate: str
    place: int | None
    of: int
    total: float | None
    whole: bool
    criteria: dict[str, float | None]


class Bakeoff(TypedDict):
    """The candidates in their order, by the weights; `failed` says by what it is about what could not be asked."""

    experiment: str
    kind: Literal["bakeoff"]
    folder: str
    weights: dict[str, float]
    arms: list[EndedArm]
    places: list[Place]
    failed: dict[str, str]
    files: list[str]


class BySeeds(TypedDict):
    """With so many seeds a variant: from how many points on a difference is seen, and how many rows one needs."""

    seeds: int
    seen_points: float
    rows_needed: int | None


class Detect(TypedDict):
    """How many rows and seeds would show a difference of `points` in the overall score."""

    experiment: str
    points: float
    power: float
    seeds: int
    tasks: int
    rows: int
    independent_rows: float
    tests: int
    by_seeds: list[BySeeds]
    needed: str
    rows_from: str
    seeds_from: str


class Rated(TypedDict):
    """A model with its overall score, its score by task, and how it differs from the models it is compared with."""

    name: str
    overall: float
    by_task: dict[str, float]
    against: dict[str, Difference]


class Sweep(TypedDict):
    """Which of the merges is best, and became the run's model."""

    run: str
    best: str
    model: str | None
    metrics: dict[str, str]
    candidates: list[Rated]
    references: list[Rated]
    failures: dict[str, str]
    files: list[str]
