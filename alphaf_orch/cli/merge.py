"""`alphaf merge-models`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaf_orch.cli.options import log_console, out_console, with_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alphaf_orch.core.paths import RunPaths
    from alphaf_orch.evaluation.options import EvalOptions
    from alphaf_orch.experiments.sweep.run import Candidate, Swept
    from alphaf_orch.planning.plan import Scope
    from alphaf_orch.settings.config import RunConfig

# Kept when another method is asked for: they mean the same to every one.
_COMMON = ("partner", "method", "stage", "base", "dtype", "out_dtype", "tokenizer", "seed")
_METHODS = (
    "linear", "slerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", "della", "breadcrumbs", "model_stock",
    "sce",
)  # fmt: skip


@click.command("merge-models")
@with_options("run", "config")
@click.option("--partner", "-p", "partners", multiple=True, metavar="PRESET|PATH|HUB_ID", help="Repeatable, or A,B.")
@click.option("--method", type=click.Choice(_METHODS), help="dare_ties unless the run or its model says otherwise.")
@click.option("--stage", type=click.Choice(["sft", "dpo"]), help="Which model of the run; the newest unless named.")
@click.option("--base", metavar="PRESET|PATH|HUB_ID", help="The merge base; the run's base model unless named.")
@click.option(
    "--weight", metavar="W|W,W", help="The partners' weight (the run's gets the rest), or one for each model."
)
@click.option("--density", metavar="D|D,D", help="The share of each model's changes that is kept.")
@click.option("--t", type=float, help="slerp: 0 is the run's model, 1 the partner.")
@click.option("--tokenizer", type=click.Choice(["run", "union", "base"]), help="Whose vocabulary the result has.")
@click.option("--set", "-s", "sets", multiple=True, metavar="KEY=VALUE", help="Any other setting of the method.")
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=V,V", help="Merge and score each value, keep the best.")
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Of --sweep: a suite of tasks (finance-ko).")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Of --sweep: a single task; repeatable.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Of --sweep: the first N rows of each task.")
@click.option("--gpus", type=click.IntRange(min=0), help="Of --sweep: GPUs to score with; 0 is CPU.")
@click.option("--lang", type=click.Choice(["ko", "en"]), default="ko", help="Of --sweep: the report opens in it.")
@with_options("online", "dry_run", "verbose")
def merge_models(
    run: str | None,
    config: Path | None,
    partners: tuple[str, ...],
    method: str | None,
    stage: str | None,
    base: str | None,
    weight: str | None,
    density: str | None,
    t: float | None,
    tokenizer: str | None,
    sets: tuple[str, ...],
    sweeps: tuple[str, ...],
    suites: tuple[str, ...],
    tasks: tuple[str, ...],
    limit: int | None,
    gpus: int | None,
    lang: str,
    online: bool,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Merge a run's newest finished model with others by mergekit, and check the hand-off again.

    Without a partner the model's own default is used: for eeve dare_ties with EEVE-Korean-Instruct.
    """
    from alphaf_orch.cli.execute import execute
    from alphaf_orch.evaluation.options import EvalOptions
    from alphaf_orch.runs.find import existing_run, last_finished_sft
    from alphaf_orch.settings.merge import parse_sweep
    from alphaf_orch.settings.options import Options, settings

    named = run or last_finished_sft().name
    existing_run(named)
    remembered, paths = settings(Options(run=named, config=config))
    given = {
        "partner": [name for text in partners for name in text.split(",")] or None,
        "method": method,
        "stage": stage,
        "base": base,
        "weight": _numbers(weight),
        "density": _numbers(density),
        "t": t,
        "tokenizer": tokenizer,
    }
    chosen = _merged_settings(remembered, {k: v for k, v in given.items() if v is not None}, sets)
    scope = _scope(chosen, paths, online=online, dry_run=dry_run)
    if not sweeps:
        execute(chosen, paths, scope, verbose=verbose)
        return
    grid = parse_sweep(sweeps)
    options = EvalOptions(named, (), suites, tasks, limit, gpus=gpus)
    _sweep(chosen, paths, scope, grid, options, lang=lang, verbose=verbose)


def _numbers(text: str | None) -> Any:
    """Return one number, or a list of them where the text has commas."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is no number, nor a list of numbers with commas") from None
    return values if len(values) > 1 else values[0]


def _merged_settings(config: RunConfig, given: Mapping[str, Any], sets: Sequence[str]) -> RunConfig:
    """Return the run's settings with what the command line says of the merge."""
    from alphaf_orch.core.errors import ConfigError
    from alphaf_orch.core.values import parse_value
    from alphaf_orch.settings.merge import settled

    values = dict(config.merge)
    if given.get("method") not in (None, values.get("method")):
        values = {key: value for key, value in values.items() if key in _COMMON}
    values |= given
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{item!r} is not key=value", where=f"--set {item}", fix="write --set lambda=0.8")
        values[key.strip().removeprefix("merge.")] = parse_value(text)
    return config.model_copy(update={"merge": settled(values)})


def _scope(config: RunConfig, paths: RunPaths, *, online: bool, dry_run: bool) -> Scope:
    """Return the scope of a merge of the run's finished model; raise RunStateError where there is none."""
    from alphaf_orch.core.errors import RunStateError
    from alphaf_orch.core.record import read_manifest
    from alphaf_orch.planning.base import find_preset
    from alphaf_orch.planning.plan import Scope
    from alphaf_orch.planning.stages import SECTIONS, stage_name
    from alphaf_orch.runs.chain import finished, newest
    from alphaf_orch.runs.find import finished_sft
    from alphaf_orch.settings.merge import read_settings

    finished_sft(paths)
    asked = read_settings(config.merge, find_preset(config).merge, "the merge settings").stage
    manifest = read_manifest(paths.manifest)
    section = asked or newest(paths, manifest, SECTIONS) or "sft"
    if section not in finished(paths, manifest):
        raise RunStateError(
            f"the {section} model of run {paths.name} is not finished",
            where=str(paths.manifest),
            fix=f"`alphaf {section} --run {paths.name}` goes on with it, or name another --stage",
        )
    upstream = manifest["stages"][stage_name("merge", section)]["fingerprint"]
    return Scope((), online, dry_run, upstream, merge=True, merge_alone=section)


def _sweep(
    config: RunConfig,
    paths: RunPaths,
    scope: Scope,
    grid: Mapping[str, Sequence[float]],
    options: EvalOptions,
    *,
    lang: Any,
    verbose: bool,
) -> None:
    from alphaf_orch.cli.execute import tell_notes
    from alphaf_orch.core.hardware import detect_machine
    from alphaf_orch.experiments.sweep import run as merge_sweep
    from alphaf_orch.planning.plan import resolve
    from alphaf_orch.report.card import write_model_card
    from alphaf_orch.runs.ready import ready_plan

    machine, console = detect_machine(), log_console()
    tried = merge_sweep.candidates(resolve(config, machine, paths.root, scope), grid)
    if scope.dry:
        _print_candidates(tried)
        return
    tried = merge_sweep.candidates(ready_plan(tried[0].plan, console, verbose=verbose).resolved, grid)
    tell_notes(tried[0].plan)
    assert scope.merge_alone is not None
    swept = merge_sweep.run_sweep(tried, paths, scope.merge_alone, options, machine, console, verbose=verbose)
    if swept.choice:
        write_model_card(paths)
        _print_choice(swept, paths, lang)
    error = merge_sweep.failed(swept, tried, paths)
    if error:
        raise error


def _print_candidates(tried: Sequence[Candidate]) -> None:
    from rich.table import Table

    from alphaf_orch.core.command import printable
    from alphaf_orch.experiments.sweep.run import states

    table = Table("candidate", "state", "why", title="sweep", title_justify="left")
    for row in states(tried):
        table.add_row(*row)
    console = out_console()
    console.print(table)
    for candidate in tried:
        console.rule(candidate.name, align="left")
        stage = candidate.plan.stages[-1]
        for path, file in stage.files.items():
            console.out(f"# {path}", highlight=False)
            console.out(file.text, highlight=False)
        console.out(f"$ {printable(stage.argv)}", highlight=False)
    click.echo("dry run: nothing was launched or written")


def _print_choice(swept: Swept, paths: RunPaths, lang: Any) -> None:
    from rich.table import Table

    from alphaf_orch.experiments.sweep.choice import explained, said
    from alphaf_orch.report.sweep import write_sweep_report

    choice, console = swept.choice, out_console()
    assert choice is not None
    others = [reference.name for reference in choice.references]
    table = Table("model", "overall", *choice.metrics, *(f"against {name}" for name in others))
    for rated in (*choice.rated, *choice.references):
        values = [f"{rated.by_task[task]:.3f}" if task in rated.by_task else "" for task in choice.metrics]
        compared = [said(rated.against[name]) if name in rated.against else "" for name in others]
        mark = " (chosen)" if rated.name == choice.best else ""
        table.add_row(f"{rated.name}{mark}", f"{rated.overall:.3f}", *values, *compared)
    console.print(table)
    for line in explained(choice):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    for file in write_sweep_report(paths, paths.sweep, choice, swept.failures, lang):
        console.out(str(file), highlight=False)
    console.out(f"model: {swept.published}", highlight=False)
