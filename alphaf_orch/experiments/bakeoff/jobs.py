"""What a bake-off asks beside its arms, as jobs: libraries and tokenizers anywhere, each arm's answers on a GPU."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.core.errors import ConfigError, StageError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import template_folders
from alphaf_orch.experiments.bakeoff.answers import make_sheet, sheet_prompts
from alphaf_orch.experiments.bakeoff.facts import NAMES
from alphaf_orch.experiments.bakeoff.plan import STAGES, Bakeoff, find_candidates
from alphaf_orch.experiments.bakeoff.run import ask_facts
from alphaf_orch.experiments.experiment import Arm, ExperimentPaths
from alphaf_orch.planning.plan import Plan

FACTS, ANSWERS = "facts", "answers"


def facts_job(bakeoff: Bakeoff, paths: ExperimentPaths) -> tuple[Job, ...]:
    """Return the job that asks libraries and tokenizers, none where all is known; it waits for nothing."""
    if all(paths.facts(name).is_file() for name in NAMES):
        return ()
    name = bakeoff.experiment.name
    return (Job(name, FACTS, Needs("data"), argv=("part", name, FACTS)),)


def answers_job(bakeoff: Bakeoff, paths: ExperimentPaths, arm: Arm, plan: Plan, *, to_come: bool) -> tuple[Job, ...]:
    """Return the job in which an arm's models answer the prompts of the sheet, none where they have.

    With `to_come` the arm is still to be trained, whatever lies there.
    """
    if not bakeoff.prompts or not (to_come or _lack(paths, arm)):
        return ()
    name = bakeoff.experiment.name
    argv = ("part", name, ANSWERS, arm.name)
    return (Job(f"{name}/{arm.name}", ANSWERS, Needs("judge", min(1, plan.gpus["sft"])), argv=argv),)


def _lack(paths: ExperimentPaths, arm: Arm) -> bool:
    prompts = sheet_prompts(template_folders(arm.config.templates))
    return not any(paths.arm(arm.name).answers(stage, prompts.name).is_file() for stage in STAGES[1:])


def do_facts(bakeoff: Bakeoff, paths: ExperimentPaths, console: Console, *, verbose: bool) -> None:
    """Ask libraries and tokenizers; raise StageError where one of them could not be asked."""
    candidates = find_candidates(bakeoff.experiment, paths)
    # Not the experiment's own lock: whoever submits more of it meanwhile is not kept waiting.
    lock = paths.facts(FACTS).parent / ".lock"
    with held(lock, f"the asking of libraries for {paths.root.name}") as lock_fd:
        _, failed = ask_facts(bakeoff.experiment, candidates, paths, lock_fd, console, verbose=verbose)
    if failed:
        name, error = next(iter(failed.items()))
        raise _failed(f"{name}: {error}", paths.log(name))


def do_answers(
    bakeoff: Bakeoff, paths: ExperimentPaths, arm: str, machine: Machine, console: Console, *, verbose: bool
) -> None:
    """Have an arm's models answer; raise StageError where one of them could not."""
    candidates = [each for each in find_candidates(bakeoff.experiment, paths) if each.arm.name == arm]
    if not candidates:
        arms = ", ".join(each.name for each in bakeoff.experiment.arms)
        raise ConfigError(
            f"{bakeoff.experiment.name} has no arm {arm}",
            where=arm,
            fix=f"its arms are {arms}",
            code="config.unknown_name",
        )
    prompts = sheet_prompts(template_folders(candidates[0].arm.config.templates))
    sheet = make_sheet(candidates, paths, prompts, bakeoff.prompts, machine, console, verbose=verbose)
    if sheet.failed:
        (_, stage), error = next(iter(sheet.failed.items()))
        raise _failed(f"{stage} gave no answers: {error}", paths.arm(arm).root)


def _failed(what: str, where: Path) -> StageError:
    return StageError(
        what,
        where=str(where),
        fix="mend the cause; the same command as before submits it again",
        code="stage.part_failed",
    )
