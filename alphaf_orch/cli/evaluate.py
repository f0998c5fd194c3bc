"""`alphaf eval`: parse, call one function, print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from alphaf_orch.cli.options import echo_json, log_console, out_console, with_options

if TYPE_CHECKING:
    from alphaf_orch.evaluation.options import Backend, EvalOptions


@click.command("eval")
@with_options("run")
@click.option("--stages", metavar="A,B", help="Of base, sft, dpo, merged; all finished ones unless named.")
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="A suite of tasks (finance-ko); repeatable.")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="A single task; repeatable.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Ask only the first N rows of each task.")
@click.option(
    "--backend",
    type=click.Choice(["hf", "vllm", "openai", "openai-chat"]),
    default="hf",
    show_default=True,
    help="Who answers: transformers, vLLM here, or a server (completions, or chat with its own template).",
)
@click.option("--server", metavar="URL", help="An OpenAI-compatible server, http://HOST:PORT/v1.")
@click.option("--server-model", metavar="NAME", help="The model's name there, if it serves several.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Automatic on a GPU unless given.")
@click.option("--gpus", type=click.IntRange(min=0), help="GPUs to use (all of them); 0 is CPU.")
@click.option("--list", "list_only", is_flag=True, help="Show suites and tasks; evaluates nothing.")
@with_options("dry_run", "json", "verbose")
def evaluate(
    run: str | None,
    stages: str | None,
    suites: tuple[str, ...],
    tasks: tuple[str, ...],
    limit: int | None,
    backend: Backend,
    server: str | None,
    server_model: str | None,
    batch_size: int | None,
    gpus: int | None,
    list_only: bool,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Score the models of a run on finance benchmarks, offline; what is known already is not asked again."""
    from alphaf_orch.evaluation.options import EvalOptions

    if list_only:
        _list(run, as_json=as_json)
        return
    named = tuple(part.strip() for part in (stages or "").split(",")) if stages is not None else ()
    options = EvalOptions(
        run, named, suites, tasks, limit, backend, server or None, server_model or None, batch_size, gpus
    )
    _evaluate(options, dry_run=dry_run, as_json=as_json, verbose=verbose)


def _list(run: str | None, *, as_json: bool) -> None:
    import sys

    from alphaf_orch.cli.eval_views import print_tasks, task_rows
    from alphaf_orch.core.command import child_env
    from alphaf_orch.core.paths import template_folders
    from alphaf_orch.evaluation.tasks.suites import find_tasks
    from alphaf_orch.planning.base import tool_python
    from alphaf_orch.runs.chain import run_config
    from alphaf_orch.runs.find import existing_run

    config = run_config(existing_run(run)) if run else None
    env = child_env({}, online=False)
    python = tool_python(config, "axolotl") if config else sys.executable
    rows = task_rows(find_tasks(template_folders(config.templates if config else None), python, env), env)
    if as_json:
        echo_json(rows)
    else:
        print_tasks(out_console(), rows)


def _evaluate(options: EvalOptions, *, dry_run: bool, as_json: bool, verbose: bool) -> None:
    from alphaf_orch.cli.eval_views import print_plan, print_results, results_json
    from alphaf_orch.core.hardware import detect_machine
    from alphaf_orch.evaluation.request import evaluated_run, known_results, pending_work, plan_evaluation
    from alphaf_orch.evaluation.run import evaluate as run_evaluation

    paths = evaluated_run(options.run)
    evaluation = plan_evaluation(paths, options, detect_machine())
    if dry_run:
        print_plan(out_console(), evaluation, pending_work(evaluation, known_results(evaluation)))
        click.echo("dry run: nothing was launched or written")
        return
    results = run_evaluation(evaluation, log_console(), verbose=verbose)
    if as_json:
        echo_json(results_json(paths.name, results))
    else:
        print_results(out_console(), results)
