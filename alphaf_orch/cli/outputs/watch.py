"""The shape of one look at the runs folder (`alphaf watch --json`)."""

from __future__ import annotations

from typing_extensions import TypedDict


class Seen(TypedDict):
    """What was seen of a training while it ran."""

    kind: str
    step: int
    what: str


class StageSeen(TypedDict):
    """One stage: `told` is why it failed or what it waits for, `job` its id and where it is, both in words."""

    name: str
    state: str
    seconds: float | None
    started: str | None
    told: str
    job: str
    findings: list[Seen]


class Page(TypedDict):
    """A report, by its name and the path of the file."""

    name: str
    href: str


class RunSeen(TypedDict):
    """One run, or an arm (`experiment` is not empty then)."""

    name: str
    experiment: str
    state: str
    base: str
    created: str
    stages: list[StageSeen]
    damage: str
    fix: str
    pages: list[Page]


class ExperimentSeen(TypedDict):
    """One experiment with the state of each arm."""

    name: str
    kind: str
    created: str
    arms: dict[str, str]
    holder: str
    damage: str
    fix: str
    pages: list[Page]


class Working(TypedDict):
    """What works now; `eta_s` counts from `time` (seconds since the epoch), `log` is the end of the log."""

    run: str
    stage: str
    holder: str
    since: str | None
    step: int | None
    max_steps: int | None
    time: float | None
    eta_s: float | None
    figures: dict[str, float]
    at: str
    log: list[str]
    quiet_s: float | None
    findings: list[Seen]
    stopping: bool


class CardSeen(TypedDict):
    """One GPU: bytes, and percent of the time in which it computed."""

    name: str
    memory: int
    used: int
    busy: int | None


class Watch(TypedDict):
    """One look: `at` is seconds since the epoch, `no_cards` why no GPU is shown."""

    at: float
    root: str
    runs: list[RunSeen]
    experiments: list[ExperimentSeen]
    working: list[Working]
    cards: list[CardSeen]
    no_cards: str | None
