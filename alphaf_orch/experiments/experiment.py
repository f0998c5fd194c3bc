"""An experiment: arms that are ordinary runs in one folder, what each is evaluated on, and where its files lie."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core import shapes
from alphaf_orch.core.errors import RunStateError, StageError, interruptible
from alphaf_orch.core.lock import held
from alphaf_orch.core.names import named_folder
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir
from alphaf_orch.core.record import fingerprint, stored_json, write_with_copy
from alphaf_orch.core.stored import absent
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.planning.stages import Section
from alphaf_orch.runs.run_date import local_day
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.options import Options

FORMAT = 1
_UNSAFE = re.compile(r"[^\w.-]+")
State = Literal["done", "failed", "interrupted", "not started", "under way"]


@dataclass(frozen=True)
class Arm:
    """One run of an experiment; arms of one variant differ in nothing but the seed."""

    name: str  # its folder in the experiment's: `--run EXPERIMENT/NAME`
    variant: str  # what sets it apart, in words: `lora_r=8`
    values: Mapping[str, Any]  # the keys that set it apart, such as {"sft.lora_r": 8}
    seed: int | None
    config: RunConfig


@dataclass(frozen=True, kw_only=True)
class Asked(Options):
    """What a command line asked of an experiment: how its arms are trained, and what they are evaluated on."""

    name: str | None = None
    suites: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Experiment:
    """Everything that is to be done, in order: the arms, up to which half of the chain, what they are asked."""

    name: str
    kind: Literal["ablation", "bakeoff"]
    arms: tuple[Arm, ...]
    sections: tuple[Section, ...]
    evaluations: tuple[EvalOptions, ...]
    request: Mapping[str, Any]  # what the command line asked for, as the report repeats it

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants in their order; the first is what the others are compared with."""
        return tuple(dict.fromkeys(arm.variant for arm in self.arms))


@dataclass(frozen=True)
class ExperimentPaths:
    """Names every file of an experiment but those of its arms."""

    root: Path

    @property
    def record(self) -> Path:
        """What was asked for, and how each arm ended."""
        return self.root / EXPERIMENT_FILE

    @property
    def lock(self) -> Path:
        """Held by the process that works on the experiment; what it starts bears its mark."""
        return self.root / ".lock"

    @property
    def page(self) -> Path:
        """The report as one self-contained page."""
        return self.root / "report.html"

    def arm(self, name: str) -> RunPaths:
        """Return the paths of an arm's run."""
        return RunPaths(self.root / name)

    def settings(self, name: str) -> Path:
        """Return the settings that an arm is started with."""
        return self.root / "arms" / f"{name}.yaml"

    def facts(self, name: str) -> Path:
        """Return what a program found out about the candidates."""
        return self.root / "facts" / f"{name}.json"

    def log(self, name: str) -> Path:
        """Return what `alphaf` printed while it worked on an arm."""
        return self.root / "logs" / f"{name}.log"


@contextlib.contextmanager
def working_on(paths: ExperimentPaths) -> Iterator[int]:
    """Hold an experiment; raise RunStateError where another process does, and Interrupted where Ctrl-C ends it."""
    what, fix = f"experiment {paths.root.name}", "the same command goes on with what is not finished"
    heed = RunPaths(paths.root).stop_wish
    with (
        interruptible(what, paths.root, fix),
        held(paths.lock, f"the {what}", heed=heed) as lock_fd,
    ):
        yield lock_fd


@dataclass(frozen=True)
class Outcome:
    """How an arm ended; `error` is what `alphaf` said of it, `code` the identifier that it gave."""

    arm: str
    state: State
    exit_code: int = 0
    seconds: float = 0.0
    error: str = ""
    code: str = ""


def experiment_paths(name: str) -> ExperimentPaths:
    """Return the paths of an experiment, new or not; raise RunStateError where a run has that name."""
    root = named_folder(runs_dir(), name)
    if (root / "manifest.json").is_file():
        raise RunStateError(
            f"{name} is a run, and an experiment needs a folder of its own",
            where=str(root),
            fix="give the experiment another name with --name",
            code="run.other_kind",
        )
    return ExperimentPaths(root)


def is_experiment(name: str) -> bool:
    """Return whether a name is that of an experiment, and not of a run or an arm."""
    return "/" not in name and not absent(ExperimentPaths(named_folder(runs_dir(), name)).record)


def all_experiments() -> list[ExperimentPaths]:
    """Return every experiment, be its record damaged, the newest last."""
    folders = sorted(runs_dir().iterdir()) if runs_dir().is_dir() else []
    found = [ExperimentPaths(folder) for folder in folders if folder.is_dir()]
    known = [each for each in found if not absent(each.record)]
    return sorted(known, key=lambda each: each.record.lstat().st_mtime)


def slug(text: str) -> str:
    """Return the text as part of a folder's name; what is too long is cut and ends in a hash of the whole."""
    short = _UNSAFE.sub("-", text).strip("-.") or "arm"
    return short if len(short) <= 60 else f"{short[:48].rstrip('-.')}-{fingerprint(text)[:8]}"


def read_record(paths: ExperimentPaths) -> dict[str, Any]:
    """Return what is recorded of the experiment, empty where it is new; raise RunStateError where it is unreadable."""
    return stored_json(paths.record, shapes.Experiment) or {}


def write_record(paths: ExperimentPaths, experiment: Experiment, outcomes: Sequence[Outcome], created: str) -> None:
    """Write what was asked for and how far each arm has come; arms of an earlier, larger request stay in it."""
    before = read_record(paths)
    ended = {outcome.arm: outcome for outcome in outcomes}
    arms = {arm["name"]: arm for arm in before.get("arms", ())}
    for arm in experiment.arms:
        outcome = ended.get(arm.name)
        old = arms.get(arm.name, {})
        arms[arm.name] = {
            "name": arm.name,
            "variant": arm.variant,
            "values": dict(arm.values),
            "seed": arm.seed,
            "model": arm.config.model,
            "state": outcome.state if outcome else old.get("state", "not started"),
            "exit_code": outcome.exit_code if outcome else old.get("exit_code", 0),
            "error": outcome.error if outcome else old.get("error", ""),
            "code": outcome.code if outcome else old.get("code", ""),
        }
    record = {
        "format": FORMAT,
        "name": experiment.name,
        "kind": experiment.kind,
        "created": before.get("created", created),
        # One for all arms, which share tokenised rows and are compared; an older record has its day of creation.
        "date": before.get("date") or local_day(before.get("created", created)),
        "request": dict(experiment.request),
        # What the report is made from where no command line says it again: in a job, behind the arms.
        "sections": list(experiment.sections),
        "evaluations": [vars(request) for request in experiment.evaluations],
        "asked": [arm.name for arm in experiment.arms],
        "arms": list(arms.values()),
        **({"submitted": before["submitted"]} if "submitted" in before else {}),
    }
    write_with_copy(paths.record, record)


def require_same_kind(paths: ExperimentPaths, experiment: Experiment) -> None:
    """Raise RunStateError where the name belongs to an experiment of another kind or of other models."""
    before = read_record(paths)
    if not before:
        return
    if before["kind"] != experiment.kind:
        raise RunStateError(
            f"{experiment.name} is an experiment of another kind ({before['kind']})",
            where=str(paths.record),
            fix="give this one another name with --name",
            code="run.other_kind",
        )
    models = {arm["name"]: arm["model"] for arm in before["arms"]}
    for arm in experiment.arms:
        if models.get(arm.name, arm.config.model) != arm.config.model:
            raise RunStateError(
                f"arm {arm.name} of {experiment.name} was made from {models[arm.name]}, not {arm.config.model}",
                where=str(paths.record),
                fix="give this experiment another name with --name",
                code="run.other_inputs",
            )


def raise_failed(experiment: Experiment, paths: ExperimentPaths, outcomes: Sequence[Outcome]) -> None:
    """Raise StageError where an arm did not end well; what the others made is kept, and goes on."""
    failed = [outcome for outcome in outcomes if outcome.state not in ("done", "under way")]
    if failed:
        names = ", ".join(outcome.arm for outcome in failed)
        raise StageError(
            f"{len(failed)} of {len(outcomes)} arms of {experiment.name} failed: {names}\n{failed[0].error}",
            where=str(_told_in(paths, failed[0].arm)),
            fix="mend the cause; the same command keeps what is finished and goes on with the rest",
            code="stage.arms_failed",
        )


def _told_in(paths: ExperimentPaths, arm: str) -> Path:
    """Return where an arm's own words are: the log of the `alphaf` that ran it here, or the outputs of its jobs."""
    log, jobs = paths.log(arm), paths.arm(arm).jobs
    return jobs if jobs.is_dir() and not log.is_file() else log
