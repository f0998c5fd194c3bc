"""What the commands that run stages share: plan, run or print, write the card, show the run."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from alphaf_orch.cli.options import log_console, out_console
from alphaf_orch.cli.views import allowed_lines, print_plan, print_run
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.disk import writing
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.planning.stages import MERGE_MODELS
from alphaf_orch.report.card import lacks_card, write_model_card
from alphaf_orch.runs.expected import forecast_of
from alphaf_orch.runs.look import run_json
from alphaf_orch.runs.nodes.follower import follow
from alphaf_orch.runs.nodes.leader import Leader
from alphaf_orch.runs.nodes.seats import here, led, refuse_unknown_seat
from alphaf_orch.runs.notify.call import told_of
from alphaf_orch.runs.ready import ready_plan
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.runner import run_plan
from alphaf_orch.runs.status import statuses
from alphaf_orch.runs.warm import warm_programs
from alphaf_orch.settings.config import RunConfig


def execute(config: RunConfig, paths: RunPaths, scope: Scope, *, warm: bool | None, verbose: bool) -> None:
    """Plan and run the scope's stages, or print them; the plan is made anew once the base model is there.

    Of several machines the first one does so, and the others their part of its trainings.
    """
    machine, console = detect_machine(), log_console()
    seat = here(config)
    if scope.dry:
        plan = make_plan(config, machine, paths.root, scope)
        check_recipe(plan, lambda text: click.echo(text, err=True))
        print_dry_run(plan, machine)
    elif seat and seat.rank:
        follow(paths, seat, config.node_timeout, machine, console, verbose=verbose)
    else:
        with told_of(config, paths, partial(tell, console)), led(config, paths, seat, console) as leader:
            _run(config, paths, scope, machine, console, leader, warm=warm, verbose=verbose)


def _run(
    config: RunConfig,
    paths: RunPaths,
    scope: Scope,
    machine: Machine,
    console: Console,
    leader: Leader | None,
    *,
    warm: bool | None,
    verbose: bool,
) -> None:
    keep_in(paths.log("alphaf"))
    plan = make_plan(config, machine, paths.root, scope)
    if leader is None:
        refuse_unknown_seat(plan)
    with warm_programs(warm, config, machine, console):
        plan = ready_plan(plan, console, verbose=verbose)
        for line in allowed_lines(plan):
            tell(console, f"allowed by {line}")
        tell_notes(plan)
        before = _changed(paths.manifest)
        run_plan(plan, machine, console, verbose=verbose, leader=leader)
    if _changed(paths.manifest) != before or lacks_card(paths):
        write_model_card(paths)
    print_run(out_console(), run_json(paths))


def tell_notes(plan: Plan) -> None:
    """Say what is worth knowing about a merge that is not done yet: what is handled, and its licence."""
    done = read_manifest(plan.paths.manifest)["stages"].get(MERGE_MODELS, {}).get("state") == "done"
    for note in plan.merge.notes if plan.merge and not done else ():
        log_console().print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)


def print_dry_run(plan: Plan, machine: Machine) -> None:
    """Print what would run and put the rendered files into a temporary folder."""
    scratch = Path(tempfile.mkdtemp(prefix=f"alphaf-{plan.paths.name}-"))
    chosen = statuses(plan, read_manifest(plan.paths.manifest))
    for status in chosen:
        for path, file in status.stage.files.items():
            with writing(scratch / path.name):
                (scratch / path.name).write_text(file.text, encoding="utf-8")
    print_plan(out_console(), plan, chosen, forecast_of(plan, machine, chosen), scratch)
    tell_notes(plan)
    click.echo(f"dry run: nothing was launched; the rendered files are in {scratch}")


def _changed(file: Path) -> int:
    """Return when a file was last written, 0 where there is none."""
    return file.stat().st_mtime_ns if file.is_file() else 0
