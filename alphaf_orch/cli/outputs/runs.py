"""The shapes of what is shown of runs: their state, their files, what was done to them."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

JobState = Literal["queued", "running", "requeued", "done", "failed", "cancelled", "unknown", "interrupted"]


class Job(TypedDict):
    """A job of a scheduler as it stands; `why` says what its reason means."""

    name: str
    id: str
    scheduler: str
    profile: str
    stage: str | None
    state: JobState
    reason: str
    why: str
    nodes: str
    since: str
    submitted: str
    requeues: int
    exit_code: int | None
    output: str


class Finding(TypedDict):
    """What was seen of a training while it ran."""

    kind: str
    level: str
    step: int
    what: str
    fix: str
    line: int


class Stage(TypedDict):
    """One stage of a run; `result` is what it found out, `code` the kind of its error, `reason` what it waits for."""

    state: str
    started: str | None
    ended: str | None
    seconds: float | None
    peak_memory_mib: float | None
    result: dict[str, Any] | None
    error: str | None
    code: str | None
    watched: list[Finding]
    retries: list[dict[str, Any]]
    requeues: list[dict[str, Any]]
    log: str
    metrics: str | None
    job: Job | None
    reason: str | None


class Run(TypedDict):
    """One run: its stages by name, in the order of the chain, and the newest finished, merged model."""

    run: str
    folder: str
    base: str | None
    base_model: str | None
    base_revision: str | None
    created: str | None
    model: str | None
    manifest: str
    stages: dict[str, Stage]
    jobs: list[Job]
    jobs_note: str | None


class DamagedRun(TypedDict):
    """A run whose record cannot be read: what is wrong, and what to do."""

    run: str
    folder: str
    damaged: str
    next: str
    code: str


class ArmOfExperiment(TypedDict):
    """One arm as it stands, with its run where there is one by now."""

    arm: str
    variant: str
    seed: int | None
    state: str
    error: str | None
    code: str | None
    run: Run | DamagedRun | None


class Experiment(TypedDict):
    """One experiment with its arms; `jobs` are its own, those of an arm stand in the arm's run."""

    experiment: str
    kind: Literal["ablation", "bakeoff"]
    folder: str
    report: str | None
    arms: list[ArmOfExperiment]
    jobs: list[Job]
    jobs_note: str | None


class ListedExperiment(TypedDict):
    """An experiment in the list: the state of each arm, and how many of its jobs are in which state."""

    experiment: str
    folder: str
    kind: Literal["ablation", "bakeoff"]
    arms: dict[str, str]
    jobs: dict[str, int]
    report: str | None


class DamagedExperiment(TypedDict):
    """An experiment whose record cannot be read: what is wrong, and what to do."""

    experiment: str
    folder: str
    damaged: str
    next: str
    code: str


class Runs(TypedDict):
    """All runs and experiments, the newest last; `jobs_note` says why a scheduler was not heard."""

    runs: list[Run | DamagedRun]
    experiments: list[ListedExperiment | DamagedExperiment]
    jobs_note: str | None


class DamagedFile(TypedDict):
    """A file that is not what was written; `needed` says whether anything still reads it."""

    file: str
    what: str
    needed: bool


class Part(TypedDict):
    """A part of a run whose files were read."""

    state: Literal["whole", "damaged", "no hashes", "not finished"]
    files: int
    bytes: int
    damaged: list[DamagedFile]
    next: str | None


class Verify(TypedDict):
    """Every part of a run by name; `recorded` are those whose hashes are kept only since now."""

    parts: dict[str, Part]
    recorded: list[str]


class Item(TypedDict):
    """Something that a finished run needs no more; `used` is seconds since the epoch."""

    run: str
    path: str
    kind: str
    bytes: int
    used: float
    why: str
    lost: str


class Kept(TypedDict):
    """Why something of a run stays."""

    run: str
    why: str


class Cache(TypedDict):
    """One entry of our caches; `used` is seconds since the epoch, `goes` whether it is named to go."""

    kind: str
    name: str
    bytes: int
    used: float
    kept: str
    goes: bool


class Clean(TypedDict):
    """What may go, what stays and why, and how many bytes were freed: 0 without --yes."""

    items: list[Item]
    kept: list[Kept]
    caches: list[Cache]
    freed: int


class Wrong(TypedDict):
    """Something that is wrong in a folder, and what mends it; where it `blocks`, for a person to do."""

    path: str
    what: str
    remedy: str
    mendable: bool
    blocks: bool


class Repair(TypedDict):
    """What is wrong, as it was found, and whether --apply mended it."""

    run: str
    findings: list[Wrong]
    mended: bool


class CancelledJob(TypedDict):
    """A job that was taken back or ended."""

    run: str
    job: str
    id: str


class Stopped(TypedDict):
    """A process that was asked to stop."""

    run: str
    holder: str


class Cancel(TypedDict):
    """What was ended; both empty where nothing worked on the run or waited to."""

    run: str
    cancelled: list[CancelledJob]
    stopped: list[Stopped]


class Logs(TypedDict):
    """The lines of a log; those of an experiment's arms begin with the arm in brackets."""

    run: str
    stage: str | None
    lines: list[str]


class Attach(TypedDict):
    """How what was followed has ended; `command` and `holder` are null where it was jobs of a scheduler."""

    run: str
    exit_code: int
    command: str | None
    holder: str | None


class Detached(TypedDict):
    """A call that goes on without the terminal."""

    run: str
    log: str
    holder: str | None


class Report(TypedDict):
    """The files that were written: pages, Markdown, model cards."""

    runs: list[str]
    files: list[str]


class Notify(TypedDict):
    """Who was told."""

    told: list[str]


class Board(TypedDict):
    """Where the page is; printed when it can be opened, while the command goes on. The token is the key to it."""

    url: str
    port: int
    token: str
