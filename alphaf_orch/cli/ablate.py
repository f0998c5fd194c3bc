"""`alphaf ablate`: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial

import click
from rich.console import Console

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.arms import dry_arms, jobs_of_arms, print_jobs, submit_arms
from alphaf_orch.cli.detect_view import print_outlook
from alphaf_orch.cli.experiment_json import ablation_json, experiment_plan_json, outlook_json
from alphaf_orch.cli.options import Finite, How, command, log_console, out_console, with_options
from alphaf_orch.cli.plan_view import print_arms_end
from alphaf_orch.cli.site import refuse_waiting, site_of
from alphaf_orch.cli.views import print_arms
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.shown import Table, show_line
from alphaf_orch.core.signals import CODE
from alphaf_orch.core.spoken import say
from alphaf_orch.core.wording import in_language
from alphaf_orch.experiments.ablation.detect import outlook
from alphaf_orch.experiments.ablation.evidence import planned_difference
from alphaf_orch.experiments.ablation.factors import AblationAsked, plan_ablation
from alphaf_orch.experiments.ablation.results import AblationResult, read_ablation
from alphaf_orch.experiments.experiment import Experiment, ExperimentPaths, Outcome, experiment_paths, raise_failed
from alphaf_orch.experiments.outcomes import record_outcomes
from alphaf_orch.experiments.plan import arm_commands, plan_arms
from alphaf_orch.experiments.run import run_experiment
from alphaf_orch.experiments.submit import Beside, for_jobs
from alphaf_orch.planning.plan import Plan
from alphaf_orch.report.ablation.identity import start_warnings
from alphaf_orch.report.ablation.page import ablation_report
from alphaf_orch.report.ablation.scores import cli_rows, verdict
from alphaf_orch.report.write import write_report
from alphaf_orch.runs.notify.call import told_of
from alphaf_orch.runs.submission import Site


@command()
@click.argument("what", nargs=-1, metavar="neftune|adapter|KEY=V1,V2...")
@click.option("--alpha", type=Finite(min=0, min_open=True), help="NEFTune's alpha (45, the article's).")
@click.option("--seeds", type=click.IntRange(1, 100), metavar="N", help="Seeds for each variant (neftune 3, others 1).")
@click.option("--until", type=click.Choice(["sft", "dpo"]), help="Which model is compared (by the keys varied).")
@click.option(
    "--detect",
    type=Finite(min=0, max=100, min_open=True),
    metavar="POINTS",
    help="Only say how many rows and seeds would show a difference of POINTS with 80% power.",
)
@with_options(
    "model", "config", "data", "dpo_data", "sets", "gpus", "dpo_gpus", "trust_remote_code", "allow_pickle", "online"
)
@with_options("name", "parallel", "suites", "tasks", "limit", "lang", "warm", "nodes", "on", "wait")
@with_options("dry_run", "full", "detach", "verbose", "quiet", "as_json")
def ablate(asked: AblationAsked, how: How, parallel: int | None, detect: float | None) -> None:
    """Train arms that are identical but for what is named, evaluate them, and say what the difference was worth.

    `neftune` is the article's test (off against alpha 45), `adapter` its question of LoRA or full fine-tuning; KEY is
    any key of axolotl's, or of DPO's behind `dpo.`. Several KEY=V1,V2 make a grid. The same command goes on where it
    stopped. With --on the arms are jobs that share what they have in common, and the report is the last one.
    """
    experiment = plan_ablation(asked)
    if detect is not None:
        seeds = len({arm.seed for arm in experiment.arms})
        if how.as_json:
            answer("detect", outlook_json(experiment.name, outlook(experiment), detect, seeds))
            return
        print_outlook(out_console(), outlook(experiment), detect, seeds)
        return
    paths, site = experiment_paths(experiment.name), site_of(experiment.arms[0].config)
    if site:
        experiment = for_jobs(experiment)
        if how.dry_run:
            _dry_jobs(experiment, paths, site, how, parallel)
        else:
            code = submit_arms(experiment, paths, site, how, parallel)
            if code not in (None, CODE):  # with the last lines and the end of a command that runs the arms here
                report_ablation(experiment, paths, record_outcomes(experiment, paths), how)
            sys.exit(code or 0)
        return
    refuse_waiting(how)
    machine = detect_machine()
    if how.dry_run:
        _dry_run(experiment, paths, machine, how)
        return
    keep_in(paths.log("alphaf"))
    console = log_console()
    with told_of(experiment.arms[0].config, RunPaths(paths.root), partial(tell, console)):
        outcomes = run_experiment(
            experiment,
            paths,
            machine,
            console,
            parallel=parallel,
            online=how.online,
            warm=how.warm,
            verbose=how.verbose,
        )
        report_ablation(experiment, paths, outcomes, how)


def report_ablation(experiment: Experiment, paths: ExperimentPaths, outcomes: Sequence[Outcome], how: How) -> None:
    """Print what an ablation found and write its report; raise StageError where an arm did not end well."""
    result = read_ablation(experiment, paths, outcomes)
    files = write_report(ablation_report(result), paths.page, how.lang)
    if how.as_json:
        answer("ablation", ablation_json(result, paths, files))
    else:
        _print(result, quiet=how.quiet)
        for file in files:
            click.echo(file)
    raise_failed(experiment, paths, outcomes)


def _dry_run(experiment: Experiment, paths: ExperimentPaths, machine: Machine, how: How) -> None:
    """Print the arms, in which lines each arm's files differ from the first one's, and what all of it takes."""
    plans, _ = plan_arms(experiment, paths, machine, online=False, dry=True)
    if how.as_json:
        commands = {arm.name: arm_commands(experiment, arm, paths) for arm in experiment.arms}
        answer("experiment-plan", experiment_plan_json(experiment, paths, plans, machine, commands))
        return
    console = out_console()
    print_arms(console, experiment, lambda arm: arm_commands(experiment, arm, paths) if how.full else ())
    _print_differences(console, experiment, plans)
    print_arms_end(console, plans, lambda _: machine, how)
    say("dry run: nothing was launched or written")


def _dry_jobs(experiment: Experiment, paths: ExperimentPaths, site: Site, how: How, parallel: int | None) -> None:
    """Print the arms, in which lines each arm's files differ from the first one's, the jobs, and what all takes."""
    plans, wanted = dry_arms(experiment, paths, site, how.lang, parallel, Beside())
    if how.as_json:
        machine, jobs = site.machine(experiment.arms[0].config), jobs_of_arms(wanted, paths, site)
        answer("experiment-plan", experiment_plan_json(experiment, paths, plans, machine, {}, jobs))
        return
    console = out_console()
    print_arms(console, experiment, lambda _: ())
    _print_differences(console, experiment, plans)
    print_jobs(console, wanted, paths, site, plans, how)


def _print_differences(console: Console, experiment: Experiment, plans: Mapping[str, Plan]) -> None:
    first = experiment.arms[0]
    for arm in experiment.arms[1:]:
        if arm.seed == first.seed:
            console.rule(f"{first.name} → {arm.name}", align="left")
            show_line(console, planned_difference(plans[first.name], plans[arm.name]) or "no difference")


def _print(result: AblationResult, *, quiet: bool) -> None:
    for text in start_warnings(result):
        say(f"warning: {in_language(text, 'en')}", err=True)
    console = out_console()
    for comparison in result.comparisons:
        if quiet:
            show_line(console, f"verdict: {verdict(comparison).en}")
            continue
        header = ("score", comparison.before, comparison.after, "difference", "95% CI", "p", "result")
        table = Table(*header)
        for row in cli_rows(comparison):
            table.add_row(*row)
        console.print(table)
        show_line(console, f"verdict: {verdict(comparison).en}")
