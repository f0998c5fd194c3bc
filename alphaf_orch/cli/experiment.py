"""What `alphaf ablate` and `alphaf bakeoff` share: their options, how they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from alphaf_orch.core.errors import StageError

if TYPE_CHECKING:
    from rich.console import Console

    from alphaf_orch.experiments.experiment import Experiment, ExperimentPaths, Outcome

F = TypeVar("F", bound=Callable[..., Any])


def with_experiment_options(function: F) -> F:
    """Return the command with the options that every experiment has."""
    for option in reversed(
        (
            click.option("--name", metavar="NAME", help="The experiment's folder under ALPHAF_RUNS or ./runs."),
            click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="Arms at a time (CPU 2, GPU 1)."),
            click.option("--suite", "suites", multiple=True, metavar="NAME", help="A suite of tasks (finance-ko)."),
            click.option("--task", "tasks", multiple=True, metavar="NAME", help="A single task; repeatable."),
            click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N rows of each task."),
            click.option("--lang", type=click.Choice(["ko", "en"]), default="ko", help="The report opens in it."),
        )
    ):
        function = option(function)
    return function


def print_arms(console: Console, experiment: Experiment, commands: Callable[[Any], Sequence[Sequence[str]]]) -> None:
    """Print the arms of an experiment with the commands that each is."""
    from rich.table import Table

    from alphaf_orch.core.command import printable

    table = Table("arm", "variant", "seed", title=f"experiment {experiment.name}", title_justify="left")
    for arm in experiment.arms:
        table.add_row(arm.name, arm.variant, "" if arm.seed is None else str(arm.seed))
    console.print(table)
    for arm in experiment.arms:
        for command in commands(arm):
            console.out(f"$ {printable(('alphaf', *command))}", highlight=False)


def raise_failed(experiment: Experiment, paths: ExperimentPaths, outcomes: Sequence[Outcome]) -> None:
    """Raise StageError where an arm did not end well; what the others made is kept."""
    failed = [outcome for outcome in outcomes if outcome.state != "done"]
    if failed:
        names = ", ".join(outcome.arm for outcome in failed)
        raise StageError(
            f"{len(failed)} of {len(outcomes)} arms of {experiment.name} failed: {names}\n{failed[0].error}",
            where=str(paths.log(failed[0].arm)),
            fix="mend the cause; the same command keeps what is finished and goes on with the rest",
        )
