"""`alphaf ablate`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from alphaf_orch.cli.experiment import print_arms, raise_failed, with_experiment_options
from alphaf_orch.cli.options import log_console, out_console, with_options

if TYPE_CHECKING:
    from alphaf_orch.core.hardware import Machine
    from alphaf_orch.core.wording import Language
    from alphaf_orch.experiments.ablation.results import AblationResult
    from alphaf_orch.experiments.experiment import Experiment, ExperimentPaths
    from alphaf_orch.planning.stages import Section


@click.command()
@click.argument("what", nargs=-1, metavar="neftune|adapter|KEY=V1,V2...")
@click.option("--alpha", type=click.FloatRange(min=0, min_open=True), help="NEFTune's alpha (45, the article's).")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Seeds for each variant (neftune 3, others 1).")
@click.option("--until", type=click.Choice(["sft", "dpo"]), help="Which model is compared (by the keys varied).")
@with_options("model", "config", "data", "dpo_data", "set", "gpus", "dpo_gpus", "trust", "online")
@with_experiment_options
@with_options("dry_run", "verbose")
def ablate(
    what: tuple[str, ...],
    alpha: float | None,
    seeds: int | None,
    until: Section | None,
    model: str | None,
    config: Path | None,
    data: tuple[str, ...],
    dpo_data: tuple[str, ...],
    sets: tuple[str, ...],
    gpus: int | None,
    dpo_gpus: int | None,
    trust_remote_code: bool,
    online: bool,
    name: str | None,
    parallel: int | None,
    suites: tuple[str, ...],
    tasks: tuple[str, ...],
    limit: int | None,
    lang: Language,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Train arms that are identical but for what is named, evaluate them, and say what the difference was worth.

    `neftune` is the article's test (off against alpha 45), `adapter` its question of LoRA or full fine-tuning; KEY is
    any key of axolotl's, or of DPO's behind `dpo.`. Several KEY=V1,V2 make a grid. The same command goes on where it
    stopped.
    """
    from alphaf_orch.core.hardware import detect_machine
    from alphaf_orch.experiments.ablation.factors import NEFTUNE_SEEDS, OTHER_SEEDS, make_ablation, read_factors
    from alphaf_orch.experiments.experiment import EvalRequest, experiment_paths, slug
    from alphaf_orch.settings.options import Options, new_settings

    factors = read_factors(what, alpha=alpha)
    options = Options(model, None, config, data, dpo_data, sets, "sft", gpus, dpo_gpus, trust_remote_code)
    base = new_settings(options)
    seeds = seeds or (NEFTUNE_SEEDS if "neftune" in what else OTHER_SEEDS)
    varied = "_".join("neftune" if word == "neftune" else word.partition("=")[0] for word in what)
    chosen = name or slug(f"ablate-{varied}-{Path(base.model).name}")
    asked = {
        "what": " ".join(what), "alpha": alpha, "model": base.model, "seeds": seeds, "until": until,
        "data": list(base.data), "dpo_data": list(base.dpo_data), "set": list(sets), "suites": list(suites),
        "tasks": list(tasks), "limit": limit,
    }  # fmt: skip
    request = EvalRequest((), suites, tasks, limit)
    experiment = make_ablation(chosen, factors, base, seeds=seeds, until=until, request=request, asked=asked)
    paths, machine = experiment_paths(chosen), detect_machine()
    if dry_run:
        _dry_run(experiment, paths, machine)
        return
    _run(experiment, paths, machine, parallel=parallel, online=online, language=lang, verbose=verbose)


def _dry_run(experiment: Experiment, paths: ExperimentPaths, machine: Machine) -> None:
    """Print the arms, their commands, and in which lines each arm's files differ from the first one's."""
    from alphaf_orch.experiments.ablation.evidence import planned_difference
    from alphaf_orch.experiments.plan import arm_commands, plan_arms

    plans, _ = plan_arms(experiment, paths, machine, online=False, dry=True)
    console = out_console()
    print_arms(console, experiment, lambda arm: arm_commands(experiment, arm, paths))
    first = experiment.arms[0]
    for arm in experiment.arms[1:]:
        if arm.seed == first.seed:
            console.rule(f"{first.name} → {arm.name}", align="left")
            console.out(planned_difference(plans[first.name], plans[arm.name]) or "no difference", highlight=False)
    click.echo("dry run: nothing was launched or written")


def _run(
    experiment: Experiment,
    paths: ExperimentPaths,
    machine: Machine,
    *,
    parallel: int | None,
    online: bool,
    language: Language,
    verbose: bool,
) -> None:
    from alphaf_orch.experiments.ablation.results import read_ablation
    from alphaf_orch.experiments.run import run_experiment
    from alphaf_orch.report.ablation.page import ablation_report
    from alphaf_orch.report.write import write_report

    outcomes = run_experiment(
        experiment, paths, machine, log_console(), parallel=parallel, online=online, verbose=verbose
    )
    result = read_ablation(experiment, paths, outcomes)
    _print(result)
    for file in write_report(ablation_report(result), paths.page, language):
        click.echo(file)
    raise_failed(experiment, paths, outcomes)


def _print(result: AblationResult) -> None:
    from rich.table import Table

    from alphaf_orch.core.wording import in_language
    from alphaf_orch.report.ablation.identity import start_warnings
    from alphaf_orch.report.ablation.scores import cli_rows, verdict

    for text in start_warnings(result):
        click.echo(f"warning: {in_language(text, 'en')}", err=True)
    console = out_console()
    for comparison in result.comparisons:
        header = ("score", comparison.before, comparison.after, "difference", "95% CI", "p", "result")
        table = Table(*header)
        for row in cli_rows(comparison):
            table.add_row(*row)
        console.print(table)
        console.print(f"verdict: {verdict(comparison).en}", highlight=False, soft_wrap=True, markup=False)
