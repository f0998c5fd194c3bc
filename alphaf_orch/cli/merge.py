"""`alphaf merge-models`: parse, call one function, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.dry_run import tell_notes
from alphaf_orch.cli.execute import execute
from alphaf_orch.cli.experiment_json import candidates_json, sweep_json
from alphaf_orch.cli.options import Finite, How, command, log_console, option, out_console, with_options
from alphaf_orch.cli.plan_view import print_arms_end
from alphaf_orch.cli.site import refuse_waiting, site_of
from alphaf_orch.cli.submit import submit_call
from alphaf_orch.clusters.jobs import Needs
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.command import printable
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.shown import Table, show_line
from alphaf_orch.core.spoken import language, say
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.sweep.choice import Choice
from alphaf_orch.experiments.sweep.run import Candidate, Swept, candidates, failed, run_sweep, states
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.resolve import resolve
from alphaf_orch.report.card import write_model_card
from alphaf_orch.report.sweep import explained, said, write_sweep_report
from alphaf_orch.runs.chain import merge_scope
from alphaf_orch.runs.find import existing_run, last_finished_sft
from alphaf_orch.runs.notify.call import told_of
from alphaf_orch.runs.ready import ready_plan
from alphaf_orch.runs.warm import warm_programs
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.merge import METHODS, laid_over, parse_sweep
from alphaf_orch.settings.options import Options, settings


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """What the command line said of the merge; None and empty mean that it said nothing."""

    config: Path | None
    partners: tuple[str, ...]
    method: str | None
    stage: str | None
    base: str | None
    weight: str | None
    density: str | None
    t: float | None
    tokenizer: str | None
    sets: tuple[str, ...]
    sweeps: tuple[str, ...]

    @property
    def given(self) -> dict[str, Any]:
        """The `merge:` settings that were said."""
        values = {
            "partner": [name for text in self.partners for name in text.split(",")] or None,
            "method": self.method,
            "stage": self.stage,
            "base": self.base,
            "weight": _numbers("--weight", self.weight),
            "density": _numbers("--density", self.density),
            "t": self.t,
            "tokenizer": self.tokenizer,
        }
        return {key: value for key, value in values.items() if value is not None}


@command("merge-models")
@with_options("run", "config")
@click.option("--partner", "-p", "partners", multiple=True, metavar="PRESET|PATH|HUB_ID", help="Repeatable, or A,B.")
@click.option("--method", type=click.Choice(METHODS), help="dare_ties unless the run or its model says otherwise.")
@click.option("--stage", type=click.Choice(["sft", "dpo"]), help="Which model of the run; the newest unless named.")
@click.option("--base", metavar="PRESET|PATH|HUB_ID", help="The merge base; the run's base model unless named.")
@click.option(
    "--weight", metavar="W|W,W", help="The partners' weight (the run's gets the rest), or one for each model."
)
@click.option("--density", metavar="D|D,D", help="The share of each model's changes that is kept.")
@click.option("--t", type=Finite(), metavar="NUMBER", help="slerp: 0 is the run's model, 1 the partner.")
@click.option("--tokenizer", type=click.Choice(["run", "union", "base"]), help="Whose vocabulary the result has.")
@option("sets", help="Any other setting of the method.")
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=V,V", help="Merge and score each value, keep the best.")
@option("suites", help="Of --sweep: a suite of tasks (finance-ko).")
@option("tasks", help="Of --sweep: a single task; repeatable.")
@option("limit", help="Of --sweep: the first N rows of each task.")
@option("gpus", help="Of --sweep: GPUs to score with; 0 is CPU.")
@option("lang", help="Of --sweep: the report opens in it.")
@with_options("online", "warm", "on", "wait", "dry_run", "full", "detach", "verbose", "quiet", "as_json")
def merge_models(options: MergeOptions, scored: EvalOptions, how: How, on: str | None) -> None:
    """Merge a run's newest finished model with others by mergekit, and check the hand-off again.

    Without a partner the model's own default is used: for eeve dare_ties with EEVE-Korean-Instruct.
    """
    name = scored.run or last_finished_sft().name
    existing_run(name)
    remembered, paths = settings(Options(run=name, config=options.config, on=on))
    merge = laid_over(remembered.merge, options.given, options.sets)
    config = remembered.model_copy(update={"merge": merge})
    scope = merge_scope(config, paths, online=how.online, dry=how.dry_run)
    if options.sweeps:
        _sweep(config, paths, scope, parse_sweep(options.sweeps), replace(scored, run=name), how)
    else:
        execute(config, paths, scope, how)


def _numbers(option: str, text: str | None) -> Any:
    """Return one number, or a list of them where the text has commas."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"{text!r} is no number, nor a list of numbers with commas",
            where=option,
            fix="give one number, or a list with one for each model",
            code="config.wrong_type",
        ) from None
    return values if len(values) > 1 else values[0]


def _sweep(
    config: RunConfig,
    paths: RunPaths,
    scope: Scope,
    grid: Mapping[str, Sequence[float]],
    options: EvalOptions,
    how: How,
) -> None:
    site = site_of(config)
    machine, console = site.machine(config) if site else detect_machine(), log_console()
    tried = candidates(resolve(config, machine, paths.root, scope), grid)
    if site:  # candidates and scores are one thing, and a search over both one job
        gpus = min(1, len(machine.gpus)) if options.gpus is None else options.gpus
        submit_call(paths, "merge-models", "sweep", Needs("eval", gpus), site, how)
        return
    refuse_waiting(how)
    if scope.dry and how.as_json:
        answer("sweep-plan", {"run": paths.name, "candidates": candidates_json(tried)})
        return
    if scope.dry:
        _print_candidates(tried, machine, how)
        return
    keep_in(paths.log("alphaf"))
    with told_of(config, paths, partial(tell, console)):
        with warm_programs(how.warm, config, machine, console, default=True):
            tried = candidates(ready_plan(tried[0].plan, console, verbose=how.verbose).resolved, grid)
            tell_notes(tried[0].plan)
            assert scope.merge_alone is not None
            swept = run_sweep(tried, paths, scope.merge_alone, options, machine, console, verbose=how.verbose)
        if swept.choice:
            write_model_card(paths)
            _print_choice(swept, swept.choice, paths, how)
        error = failed(swept, tried, paths)
        if error:
            raise error


def _print_candidates(tried: Sequence[Candidate], machine: Machine, how: How) -> None:
    table = Table("candidate", "state", "why", title="sweep", title_justify="left")
    for row in states(tried):
        table.add_row(*row)
    console = out_console()
    console.print(table)
    for candidate in tried if how.full else ():
        console.rule(candidate.name, align="left")
        stage = candidate.plan.stages[-1]
        for path, file in stage.files.items():
            console.out(f"# {path}", highlight=False)
            console.out(file.text, highlight=False)
        console.out(f"$ {printable(stage.argv)}", highlight=False)
    plans = {each.name: replace(each.plan, stages=each.plan.stages[-1:]) for each in tried}
    print_arms_end(console, plans, lambda _: machine, replace(how, full=False))
    say("dry run: nothing was launched or written")


def _print_choice(swept: Swept, choice: Choice, paths: RunPaths, how: How) -> None:
    files = write_sweep_report(paths, paths.sweep, choice, swept.failures, how.lang)
    if how.as_json:
        answer("sweep", sweep_json(paths.name, swept, choice, files))
        return
    console = out_console()
    if not how.quiet:
        _print_rated(console, choice)
    for file in files:
        console.out(str(file), highlight=False)
    show_line(console, f"model: {swept.published}")


def _print_rated(console: Console, choice: Choice) -> None:
    others = [reference.name for reference in choice.references]
    table = Table("model", "overall", *choice.metrics, *(f"against {name}" for name in others))
    for rated in (*choice.rated, *choice.references):
        values = [f"{rated.by_task[task]:.3f}" if task in rated.by_task else "" for task in choice.metrics]
        compared = [said(rated.against[name]) if name in rated.against else "" for name in others]
        mark = " (chosen)" if rated.name == choice.best else ""
        table.add_row(f"{rated.name}{mark}", f"{rated.overall:.3f}", *values, *compared)
    console.print(table)
    for line in explained(choice, language()):
        show_line(console, line)
