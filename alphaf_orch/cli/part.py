"""`alphaf part`: what a job does of an experiment that is no arm; no command for people."""

from __future__ import annotations

import click

from alphaf_orch.cli.options import How, command, log_console, with_options
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.spoken import say
from alphaf_orch.core.wording import Language
from alphaf_orch.experiments.bakeoff.jobs import ANSWERS, FACTS, do_answers, do_facts
from alphaf_orch.experiments.bakeoff.plan import stored_bakeoff
from alphaf_orch.experiments.experiment import ExperimentPaths, experiment_paths
from alphaf_orch.experiments.outcomes import record_outcomes
from alphaf_orch.experiments.stored import read_experiment


@command()
@click.argument("experiment")
@click.argument("what", type=click.Choice([FACTS, ANSWERS]))
@click.argument("arm", required=False)
@with_options("verbose")
def part(experiment: str, what: str, arm: str | None, how: How) -> None:
    """Ask libraries about the candidates of a bake-off, or the models of one of its arms for their answers."""
    paths = experiment_paths(experiment)
    bakeoff = stored_bakeoff(read_experiment(paths))
    if what == FACTS:
        do_facts(bakeoff, paths, log_console(), verbose=how.verbose)
    elif arm:
        do_answers(bakeoff, paths, arm, detect_machine(), log_console(), verbose=how.verbose)
    else:
        raise ConfigError(
            "no arm is named",
            where=f"alphaf part {experiment} {what}",
            fix="name one of its arms",
            code="config.nothing_named",
        )


def report_experiment(
    paths: ExperimentPaths, language: Language, *, verbose: bool = False, as_json: bool = False
) -> None:
    """Write the report of an experiment from what its arms have come to, and record how they ended.

    Raises StageError where one of them did not end well, as the command that runs them does; of one that is under way
    it is said how far it is.
    """
    found = read_experiment(paths)
    outcomes = record_outcomes(found, paths)
    coming = [f"{each.arm}: {each.error}" for each in outcomes if each.state == "under way"]
    for line in coming:
        say(f"not over yet: {line}", err=True)
    if found.kind == "ablation":
        from alphaf_orch.cli.ablate import report_ablation

        report_ablation(found, paths, outcomes, How(lang=language, as_json=as_json))
    else:
        from alphaf_orch.cli.bakeoff import report_bakeoff

        report_bakeoff(found, paths, outcomes, How(lang=language, as_json=as_json, verbose=verbose))
