"""`alphaf eval`: parse, call one function, print."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.eval_views import eval_plan_json, print_plan, print_results, print_tasks, results_json
from alphaf_orch.cli.options import How, command, log_console, option, out_console, with_options
from alphaf_orch.cli.site import refuse_waiting, site_of
from alphaf_orch.clusters.jobs import Needs
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.spoken import say
from alphaf_orch.evaluation import run as evaluation_run
from alphaf_orch.evaluation.options import BACKENDS, SERVERS, EvalOptions, suites_asked
from alphaf_orch.evaluation.request import evaluated_run, known_results, pending_work, plan_evaluation
from alphaf_orch.evaluation.tasks.listing import list_tasks
from alphaf_orch.runs.chain import run_config
from alphaf_orch.runs.find import existing_run
from alphaf_orch.runs.notify.call import told_of
from alphaf_orch.runs.warm import warm_programs

if TYPE_CHECKING:
    from alphaf_orch.runs.submission import Site


def _stages(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(part.strip() for part in text.split(","))


def _said(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    return text or None


@command("eval")
@with_options("run")
@click.option(
    "--stages", callback=_stages, metavar="A,B", help="Of base, sft, dpo, merged; all finished ones unless named."
)
@option("suites", help="A suite of tasks (finance-ko); repeatable.")
@with_options("tasks")
@option("limit", help="Ask only the first N rows of each task.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="hf",
    show_default=True,
    help="Who answers: transformers, vLLM here, or a server (completions, or chat with its own template).",
)
@click.option("--server", callback=_said, metavar="URL", help="An OpenAI-compatible server, http://HOST:PORT/v1.")
@click.option("--server-model", callback=_said, metavar="NAME", help="The model's name there, if it serves several.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Automatic on a GPU unless given.")
@option("gpus", help="GPUs to use (all of them); 0 is CPU.")
@click.option("--list", "list_only", is_flag=True, help="Show suites and tasks; evaluates nothing.")
@with_options("warm", "on", "wait", "dry_run", "as_json", "detach", "verbose", "quiet")
def evaluate(options: EvalOptions, how: How, list_only: bool, on: str | None) -> None:
    """Score the models of a run on finance benchmarks, offline; what is known already is not asked again."""
    if list_only:
        rows = list_tasks(run_config(existing_run(options.run)) if options.run else None)
        if how.as_json:
            answer("tasks", {"tasks": rows})
        else:
            print_tasks(out_console(), rows)
        return
    paths = evaluated_run(options.run)
    config = run_config(paths)
    site = site_of(config, on)
    if site:
        _submit(paths, options, site, how)
        return
    refuse_waiting(how)
    machine = detect_machine()
    evaluation = plan_evaluation(paths, options, machine)
    if how.dry_run:
        work = pending_work(evaluation, known_results(evaluation))
        if how.as_json:
            answer("eval-plan", eval_plan_json(paths.name, evaluation, work))
            return
        print_plan(out_console(), evaluation, work)
        say("dry run: nothing was launched or written")
        return
    keep_in(paths.log("alphaf"))
    console = log_console()
    told = told_of(config, paths, partial(tell, console))
    with told, warm_programs(how.warm, config, machine, console):
        results = evaluation_run.evaluate(evaluation, console, verbose=how.verbose)
    if how.as_json:
        answer("eval", results_json(paths.full_name, results))
    else:
        print_results(out_console(), results)


def _submit(paths: RunPaths, options: EvalOptions, site: Site, how: How) -> None:
    """Submit the call; what can be refused is, but for models that jobs under way are still to make."""
    from alphaf_orch.cli.submit import submit_call  # here: what runs on this machine plans no jobs
    from alphaf_orch.runs.submission import under_way

    machine = site.machine(run_config(paths))
    gpus = min(1, len(machine.gpus)) if options.gpus is None else options.gpus
    asked = replace(options, gpus=0 if options.backend in SERVERS else gpus)
    if site.tools_here and (how.dry_run or not under_way(paths, site)):
        evaluation = plan_evaluation(paths, options if options.backend in SERVERS else asked, machine)
        pending_work(evaluation, known_results(evaluation))
    what = "-".join((*suites_asked(options), *options.tasks))
    submit_call(paths, "eval", what, Needs("eval", asked.gpus or 0), site, how)
