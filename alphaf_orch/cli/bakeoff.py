"""`alphaf bakeoff`: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.arms import dry_arms, jobs_of_arms, print_jobs, submit_arms
from alphaf_orch.cli.experiment_json import bakeoff_json, experiment_plan_json
from alphaf_orch.cli.options import How, command, log_console, out_console, with_options
from alphaf_orch.cli.plan_view import print_arms_end
from alphaf_orch.cli.site import refuse_waiting, site_of
from alphaf_orch.cli.views import print_arms
from alphaf_orch.clusters.jobs import Job
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.errors import StageError
from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.shown import Table
from alphaf_orch.core.signals import CODE
from alphaf_orch.core.spoken import say
from alphaf_orch.experiments.bakeoff.jobs import answers_job, facts_job
from alphaf_orch.experiments.bakeoff.plan import (
    PROMPTS,
    Bakeoff,
    BakeoffAsked,
    find_candidates,
    plan_bakeoff,
    stored_bakeoff,
)
from alphaf_orch.experiments.bakeoff.ranking import Weights, parse_weights, rank
from alphaf_orch.experiments.bakeoff.run import Findings, findings, run_bakeoff
from alphaf_orch.experiments.experiment import (
    Arm,
    Experiment,
    ExperimentPaths,
    Outcome,
    experiment_paths,
    raise_failed,
)
from alphaf_orch.experiments.outcomes import record_outcomes
from alphaf_orch.experiments.plan import arm_commands, plan_arms
from alphaf_orch.experiments.submit import Beside, for_jobs
from alphaf_orch.planning.plan import Plan
from alphaf_orch.report.bakeoff.page import bakeoff_report
from alphaf_orch.report.write import write_report
from alphaf_orch.runs.notify.call import told_of
from alphaf_orch.runs.submission import Site


def _names(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


@command()
@click.option(
    "--models", required=True, callback=_names, metavar="A,B,C", help="The candidates: presets, folders or hub ids."
)
@with_options("config", "data", "sets", "gpus", "trust_remote_code", "allow_pickle", "online")
@with_options("name", "parallel", "suites", "tasks", "limit", "lang")
@click.option("--elsewhere", multiple=True, metavar="SUITE", help="A suite that SFT is not for (general-ko).")
@click.option("--weights", metavar="A=1,B=1", help="versatility, korean, performance; 1 each unless given.")
@click.option(
    "--prompts", type=click.IntRange(min=0), default=PROMPTS, show_default=True, help="Prompts for the sheet."
)
@with_options("warm", "nodes", "on", "wait", "dry_run", "full", "detach", "verbose", "quiet", "as_json")
def bakeoff(asked: BakeoffAsked, how: How, parallel: int | None, weights: str | None) -> None:
    """Compare base models before and after the same SFT: versatility, Korean ability, performance, in one report.

    What is finished is kept: the same command goes on, or does nothing and writes the report anew. With --on the arms
    and what is asked beside them are jobs, and the report is the last one.
    """
    weighted = parse_weights(weights)
    planned = _with_weights(plan_bakeoff(asked), weights)
    paths, site = experiment_paths(planned.experiment.name), site_of(planned.experiment.arms[0].config)
    if site:
        _on_site(replace(planned, experiment=for_jobs(planned.experiment)), paths, site, how, parallel)
        return
    refuse_waiting(how)
    if how.dry_run:
        _print_dry_run(planned, how)
        return
    keep_in(paths.log("alphaf"))
    console = log_console()
    with told_of(planned.experiment.arms[0].config, RunPaths(paths.root), partial(tell, console)):
        found = run_bakeoff(
            planned,
            paths,
            detect_machine(),
            console,
            parallel=parallel,
            online=how.online,
            warm=how.warm,
            verbose=how.verbose,
        )
        _report(found, weighted, how, chosen=bool(weights))


def report_bakeoff(experiment: Experiment, paths: ExperimentPaths, outcomes: Sequence[Outcome], how: How) -> None:
    """Print what a bake-off of jobs found and write its report; no model is asked for an answer here.

    Raises StageError where an arm, or something beside the arms, did not end well.
    """
    weights = experiment.request.get("weights")
    found = findings(
        stored_bakeoff(experiment), paths, outcomes, detect_machine(), log_console(), verbose=how.verbose, make=False
    )
    _report(found, parse_weights(weights), how, chosen=bool(weights))


def _report(found: Findings, weighted: Weights, how: How, *, chosen: bool) -> None:
    files = write_report(bakeoff_report(found, weighted, chosen=chosen), found.paths.page, how.lang)
    if how.as_json:
        answer("bakeoff", bakeoff_json(found, weighted, files))
    else:
        _print(found, weighted)
        for path in files:
            click.echo(path)
    raise_failed(found.bakeoff.experiment, found.paths, list(found.outcomes.values()))
    _raise_unanswered(found)


def _with_weights(planned: Bakeoff, weights: str | None) -> Bakeoff:
    """Return the bake-off with what was said of the weights in its request: the report may be a job's."""
    asked = {**planned.experiment.request, "weights": weights}
    return replace(planned, experiment=replace(planned.experiment, request=asked))


def _on_site(planned: Bakeoff, paths: ExperimentPaths, site: Site, how: How, parallel: int | None) -> None:
    """Submit the bake-off, or print the file of every job."""

    def answers(arm: Arm, plan: Plan, to_come: bool) -> tuple[Job, ...]:
        return answers_job(planned, paths, arm, plan, to_come=to_come)

    beside = Beside(facts_job(planned, paths), answers)
    if not how.dry_run:
        code = submit_arms(planned.experiment, paths, site, how, parallel, beside)
        if code not in (None, CODE):  # with the last lines and the end of a command that runs the arms here
            outcomes = record_outcomes(planned.experiment, paths)
            report_bakeoff(planned.experiment, paths, outcomes, how)
        sys.exit(code or 0)
    plans, wanted = dry_arms(planned.experiment, paths, site, how.lang, parallel, beside)
    if how.as_json:
        machine, jobs = site.machine(planned.experiment.arms[0].config), jobs_of_arms(wanted, paths, site)
        answer("experiment-plan", experiment_plan_json(planned.experiment, paths, plans, machine, {}, jobs))
        return
    print_arms(out_console(), planned.experiment, lambda _: ())
    print_jobs(out_console(), wanted, paths, site, plans, how)


def _print_dry_run(planned: Bakeoff, how: How) -> None:
    experiment = planned.experiment
    paths = experiment_paths(experiment.name)
    machine = detect_machine()
    plans, _ = plan_arms(experiment, paths, machine, online=False, dry=True)
    if how.as_json:
        commands = {arm.name: arm_commands(experiment, arm, paths) for arm in experiment.arms}
        lacks = {each.arm.name: each.lacks for each in find_candidates(experiment, paths) if each.lacks}
        answer("experiment-plan", experiment_plan_json(experiment, paths, plans, machine, commands, lacks=lacks))
        return
    print_arms(out_console(), experiment, lambda arm: arm_commands(experiment, arm, paths) if how.full else ())
    for candidate in find_candidates(experiment, paths):
        if candidate.lacks:
            say(f"{candidate.arm.name}: {candidate.lacks}")
    print_arms_end(out_console(), plans, lambda _: machine, how)
    say("dry run: nothing was launched or written")


def _print(found: Findings, weights: Weights) -> None:
    criteria = found.criteria()
    table = Table("place", "candidate", "total", *weights)
    for place in rank(criteria, weights):
        values = [place.total, *(criteria[place.candidate][name].value for name in weights)]
        shown = ["-" if value is None else f"{value:.3f}" for value in values]
        table.add_row(str(place.place) if place.whole else "-", place.candidate, *shown)
    out_console().print(table)


def _raise_unanswered(found: Findings) -> None:
    """Raise StageError where something beside the arms failed: the report is written, and says it."""
    if found.failed:
        about, error = next(iter(found.failed.items()))
        raise StageError(
            f"{about}: {error}",
            where=str(found.paths.page),
            fix="mend the cause; the same command keeps what is finished and goes on with the rest",
            code="stage.part_failed",
        )
