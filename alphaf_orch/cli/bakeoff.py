"""`alphaf bakeoff`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from alphaf_orch.cli.experiment import with_experiment_options
from alphaf_orch.cli.options import log_console, out_console, with_options

if TYPE_CHECKING:
    from alphaf_orch.core.wording import Language
    from alphaf_orch.experiments.bakeoff.plan import Bakeoff
    from alphaf_orch.experiments.bakeoff.ranking import Weights
    from alphaf_orch.experiments.bakeoff.run import Findings


@click.command()
@click.option("--models", required=True, metavar="A,B,C", help="The candidates: presets, folders or hub ids.")
@with_options("config", "data", "set", "gpus", "trust", "online")
@with_experiment_options
@click.option("--elsewhere", multiple=True, metavar="SUITE", help="A suite that SFT is not for (general-ko).")
@click.option("--weights", metavar="A=1,B=1", help="versatility, korean, performance; 1 each unless given.")
@click.option("--prompts", type=click.IntRange(min=0), default=12, show_default=True, help="Prompts for the sheet.")
@with_options("dry_run", "verbose")
def bakeoff(
    models: str,
    config: Path | None,
    data: tuple[str, ...],
    sets: tuple[str, ...],
    gpus: int | None,
    trust_remote_code: bool,
    online: bool,
    name: str | None,
    parallel: int | None,
    suites: tuple[str, ...],
    tasks: tuple[str, ...],
    limit: int | None,
    lang: Language,
    elsewhere: tuple[str, ...],
    weights: str | None,
    prompts: int,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Compare base models before and after the same SFT: versatility, Korean ability, performance, in one report.

    What is finished is kept: the same command goes on, or does nothing and writes the report anew.
    """
    from alphaf_orch.cli.experiment import raise_failed
    from alphaf_orch.core.hardware import detect_machine
    from alphaf_orch.experiments.bakeoff.plan import Asked, plan_bakeoff
    from alphaf_orch.experiments.bakeoff.ranking import parse_weights
    from alphaf_orch.experiments.bakeoff.run import run_bakeoff
    from alphaf_orch.experiments.experiment import experiment_paths
    from alphaf_orch.report.bakeoff.page import bakeoff_report
    from alphaf_orch.report.write import write_report

    named = tuple(part.strip() for part in models.split(",") if part.strip())
    weighted = parse_weights(weights)
    planned = plan_bakeoff(
        Asked(named, name, data, suites, tasks, elsewhere, limit, prompts, sets, config, gpus, trust_remote_code)
    )
    paths = experiment_paths(planned.experiment.name)
    machine = detect_machine()
    if dry_run:
        _print_dry_run(planned)
        return
    found = run_bakeoff(planned, paths, machine, log_console(), parallel=parallel, online=online, verbose=verbose)
    _print(found, weighted)
    for path in write_report(bakeoff_report(found, weighted, chosen=bool(weights)), paths.page, lang):
        click.echo(path)
    raise_failed(planned.experiment, paths, list(found.outcomes.values()))
    _raise_unanswered(found)


def _print_dry_run(planned: Bakeoff) -> None:
    from alphaf_orch.cli.experiment import print_arms
    from alphaf_orch.core.hardware import detect_machine
    from alphaf_orch.experiments.bakeoff.plan import find_candidates
    from alphaf_orch.experiments.experiment import experiment_paths
    from alphaf_orch.experiments.plan import arm_commands, plan_arms

    experiment = planned.experiment
    paths = experiment_paths(experiment.name)
    plan_arms(experiment, paths, detect_machine(), online=False, dry=True)
    print_arms(out_console(), experiment, lambda arm: arm_commands(experiment, arm, paths))
    for candidate in find_candidates(experiment, paths):
        if candidate.lacks:
            click.echo(f"{candidate.arm.name}: {candidate.lacks}")
    click.echo("dry run: nothing was launched or written")


def _print(found: Findings, weights: Weights) -> None:
    from rich.table import Table

    from alphaf_orch.experiments.bakeoff.ranking import rank

    criteria = found.criteria()
    table = Table("place", "candidate", "total", *weights)
    for place in rank(criteria, weights):
        values = [place.total, *(criteria[place.candidate][name].value for name in weights)]
        shown = ["-" if value is None else f"{value:.3f}" for value in values]
        table.add_row(str(place.place) if place.whole else "-", place.candidate, *shown)
    out_console().print(table)


def _raise_unanswered(found: Findings) -> None:
    """Raise StageError where something beside the arms failed: the report is written, and says it."""
    from alphaf_orch.core.errors import StageError

    if found.failed:
        about, error = next(iter(found.failed.items()))
        raise StageError(
            f"{about}: {error}",
            where=str(found.paths.page),
            fix="mend the cause; the same command keeps what is finished and goes on with the rest",
        )
