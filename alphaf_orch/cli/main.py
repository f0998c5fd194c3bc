"""The `alphaf` command: parse, call one function, print. Everything heavy is imported where it is used."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import click

from alphaf_orch import __version__
from alphaf_orch.cli.ablate import ablate
from alphaf_orch.cli.bakeoff import bakeoff
from alphaf_orch.cli.evaluate import evaluate
from alphaf_orch.cli.judge import judge
from alphaf_orch.cli.merge import merge_models
from alphaf_orch.cli.options import echo_json, out_console, with_options
from alphaf_orch.cli.report import compare, report
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.masking import mask

if TYPE_CHECKING:
    from alphaf_orch.planning.plan import Scope
    from alphaf_orch.settings.options import Options

UNFORESEEN = 70  # EX_SOFTWARE of sysexits.h


class _Alphaf(click.Group):
    """The commands; an error of the disk, wherever it came up, is told as one."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OSError as error:
            from alphaf_orch.core.disk import disk_error

            failure = disk_error(error)
            if failure is None:
                raise
            raise failure from error


@click.group(cls=_Alphaf, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="alphaf")
def main() -> None:
    """SFT with axolotl, DPO with unsloth or TRL, merges and their checks: one run, one folder, one command."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # under nohup it stays ignored
        signal.signal(signal.SIGHUP, _interrupt)
    sys.excepthook = _unforeseen


def _unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in three lines that alphaf has a defect; the stack trace goes to a file."""
    import tempfile
    import traceback

    try:
        handle, kept = tempfile.mkstemp(prefix="alphaf-", suffix=".trace")
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123  (a descriptor)
            file.write(mask("".join(traceback.format_exception(kind, error, trace))))
        where = f"trace: {kept}"
    except OSError as problem:
        last = traceback.extract_tb(trace)[-1]
        where = f"{last.filename}:{last.lineno}; the trace could not be kept: {problem.strerror}"
    message = mask(f"alphaf itself failed: {kind.__name__}: {error}")
    click.echo(
        f"error: {message}\n  where: {where}\n  next:  report it with that; what is finished is kept",
        err=True,
    )
    os._exit(UNFORESEEN)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _execute(options: Options, scope: Scope, *, verbose: bool) -> None:
    """Run the scope's stages under the settings that the run remembers and the command line adds."""
    from alphaf_orch.cli.execute import execute
    from alphaf_orch.settings.options import settings

    config, paths = settings(options)
    execute(config, paths, scope, verbose=verbose)


@main.command()
@with_options("model", "run", "config", "data", "set", "gpus", "trust", "online", "dry_run", "verbose")
def sft(
    model: str | None,
    run: str | None,
    config: Path | None,
    data: tuple[str, ...],
    sets: tuple[str, ...],
    gpus: int | None,
    trust_remote_code: bool,
    online: bool,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Fine-tune a model with axolotl, merge the adapter and check the hand-off."""
    from alphaf_orch.planning.plan import Scope
    from alphaf_orch.settings.options import Options

    options = Options(model, run, config, data, (), sets, "sft", gpus, None, trust_remote_code)
    _execute(options, Scope(("sft",), online, dry_run), verbose=verbose)


@main.command()
@with_options("model", "run", "config", "data", "set", "gpus", "online", "dry_run", "verbose")
def dpo(
    model: str | None,
    run: str | None,
    config: Path | None,
    data: tuple[str, ...],
    sets: tuple[str, ...],
    gpus: int | None,
    online: bool,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Preference-tune a run's merged SFT model (the last finished one, unless --run names another) and merge again.

    --model shows, with --dry-run, the DPO of a run that is not there yet.
    """
    from alphaf_orch.planning.plan import Scope
    from alphaf_orch.runs.find import existing_run, finished_sft, last_finished_sft
    from alphaf_orch.settings.options import Options, default_run_name

    upstream = ""
    if dry_run and model:
        run = run or default_run_name(model)
    else:
        named = run or (default_run_name(model) if model else None)
        paths = existing_run(named) if named else last_finished_sft()
        run, upstream = paths.name, finished_sft(paths)
    options = Options(model, run, config, (), data, sets, "dpo", None, gpus)
    _execute(options, Scope(("dpo",), online, dry_run, upstream), verbose=verbose)


@main.command("run")
@with_options(
    "model",
    "run",
    "config",
    "data",
    "dpo_data",
    "set",
    "gpus",
    "dpo_gpus",
    "trust",
    "online",
    "dry_run",
    "verbose",
)
def run_command(
    model: str | None,
    run: str | None,
    config: Path | None,
    data: tuple[str, ...],
    dpo_data: tuple[str, ...],
    sets: tuple[str, ...],
    gpus: int | None,
    dpo_gpus: int | None,
    trust_remote_code: bool,
    online: bool,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Run the whole chain: data, SFT, merge, DPO, merge. What is done is kept; a second call does nothing.

    Where the config names a merge partner (`merge: {partner: ...}`), the model is merged with it at the end.
    """
    from alphaf_orch.planning.plan import Scope
    from alphaf_orch.settings.options import Options

    options = Options(model, run, config, data, dpo_data, sets, "sft", gpus, dpo_gpus, trust_remote_code)
    _execute(options, Scope(("sft", "dpo"), online, dry_run, merge=True), verbose=verbose)


@main.command()
@with_options("model", "run", "config", "data", "dpo_data", "set", "gpus", "dpo_gpus", "trust", "json")
def plan(
    model: str | None,
    run: str | None,
    config: Path | None,
    data: tuple[str, ...],
    dpo_data: tuple[str, ...],
    sets: tuple[str, ...],
    gpus: int | None,
    dpo_gpus: int | None,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Show what `alphaf run` would do and why, with every rendered file and command; launches nothing."""
    from alphaf_orch.cli.views import plan_json, print_plan
    from alphaf_orch.core.hardware import detect_machine
    from alphaf_orch.core.record import read_manifest
    from alphaf_orch.planning.plan import Scope, make_plan
    from alphaf_orch.runs.status import statuses
    from alphaf_orch.settings.options import Options, settings

    options = Options(model, run, config, data, dpo_data, sets, "sft", gpus, dpo_gpus, trust_remote_code)
    chosen, paths = settings(options)
    made = make_plan(chosen, detect_machine(), paths.root, Scope(dry=True, merge=True))
    found = statuses(made, read_manifest(paths.manifest))
    if as_json:
        echo_json(plan_json(made, found))
    else:
        print_plan(out_console(), made, found)


@main.command("models")
@with_options("json")
def models_command(as_json: bool) -> None:
    """List the model presets, and whether their weights are on this machine."""
    from alphaf_orch.cli.views import model_json, print_models
    from alphaf_orch.core.paths import cache_dir, template_folders
    from alphaf_orch.inputs import presets, weights

    folders = tuple(folder / "models" for folder in template_folders())
    rows = [
        model_json(preset, weights.weights_state(preset, cache_dir() / "models", os.environ))
        for preset in presets.list_presets(folders)
    ]
    if as_json:
        echo_json(rows)
    else:
        print_models(out_console(), rows)


@main.command()
@with_options("json")
def runs(as_json: bool) -> None:
    """List the runs and the experiments, the newest last, with the state of each."""
    from rich.table import Table

    from alphaf_orch.experiments.experiment import all_experiments
    from alphaf_orch.runs.find import all_runs
    from alphaf_orch.runs.look import run_json

    rows = [run_json(paths) for paths in all_runs()]
    if as_json:
        echo_json(rows)
        return
    table = Table("run", "base", "started", "stages", "model")
    for row in rows:
        states = ", ".join(
            f"{name} {stage['state']}" for name, stage in row["stages"].items() if stage["state"] != "done"
        )
        table.add_row(row["run"], row["base"], row["created"], states or "all done", row["model"] or "")
    out_console().print(table)
    for paths, record in all_experiments():
        done = sum(arm["state"] == "done" for arm in record["arms"])
        click.echo(f"experiment {record['name']}: {done} of {len(record['arms'])} arms done, report: {paths.page}")


@main.command()
@click.argument("run")
@with_options("json")
def show(run: str, as_json: bool) -> None:
    """Show one run: the state of each stage, key metrics and paths."""
    from alphaf_orch.cli.views import print_run
    from alphaf_orch.runs.find import existing_run
    from alphaf_orch.runs.look import run_json

    found = run_json(existing_run(run))
    if as_json:
        echo_json(found)
    else:
        print_run(out_console(), found)


@main.command()
@click.argument("run")
@click.option("--prompt", help="Ask one question and leave.")
@click.option("--system", help="The system message.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="0 is greedy.")
def chat(run: str, prompt: str | None, system: str | None, max_new_tokens: int, temperature: float) -> None:
    """Chat with a run's newest finished model; works on CPU too."""
    from alphaf_orch.core.command import PROGRAM_ENV, child_env, interactive, program
    from alphaf_orch.core.errors import RunStateError
    from alphaf_orch.core.record import read_manifest
    from alphaf_orch.planning.base import tool_python
    from alphaf_orch.runs.chain import MADE, model_folder, newest, run_config
    from alphaf_orch.runs.find import existing_run
    from alphaf_orch.runs.run_date import date_env

    paths = existing_run(run)
    model = newest(paths, read_manifest(paths.manifest), MADE)
    if model is None:
        raise RunStateError(
            f"run {run} has no finished model",
            where=str(paths.root),
            fix=f"run `alphaf run --run {run}` first",
        )
    python, folder = tool_python(run_config(paths), "axolotl"), str(model_folder(paths, model))
    argv = program(python, "evaluation.chat", "--model", folder)
    argv += ("--max-new-tokens", str(max_new_tokens), "--temperature", str(temperature))
    argv += ("--prompt", prompt) if prompt else ()
    argv += ("--system", system) if system else ()
    sys.exit(interactive(argv, child_env({**PROGRAM_ENV, **date_env(paths)}, online=False)))


for command in (ablate, bakeoff, evaluate, judge, merge_models, report, compare):
    main.add_command(command)

__all__ = ["AlphafError", "main"]
