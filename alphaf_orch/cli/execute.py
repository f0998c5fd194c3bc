"""What the commands that run stages share: plan, run or print, write the card, show the run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.dry_run import print_dry_run, tell_notes
from alphaf_orch.cli.options import How, log_console, out_console
from alphaf_orch.cli.site import refuse_waiting, site_of
from alphaf_orch.cli.submit import on_site
from alphaf_orch.cli.views import allowed_lines, print_run
from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.spoken import say
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.report.card import lacks_card, write_model_card
from alphaf_orch.runs.look import run_json
from alphaf_orch.runs.nodes.follower import follow
from alphaf_orch.runs.nodes.leader import Leader
from alphaf_orch.runs.nodes.seats import here, led, refuse_unknown_seat
from alphaf_orch.runs.notify.call import told_of
from alphaf_orch.runs.ready import ready_plan
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.runner import run_plan
from alphaf_orch.runs.warm import warm_programs
from alphaf_orch.settings.config import RunConfig


def execute(config: RunConfig, paths: RunPaths, scope: Scope, how: How) -> None:
    """Plan and run the scope's stages, submit them to the scheduler that they are meant for, or print them.

    The plan is made anew once the base model is there. Of several machines the first one does so, and the others their
    part of its trainings.
    """
    site = site_of(config)
    if site:
        on_site(config, paths, scope, site, how)
        return
    refuse_waiting(how)
    machine, console = detect_machine(), log_console()
    seat = here(config)
    if scope.dry:
        plan = make_plan(config, machine, paths.root, scope)
        check_recipe(plan, lambda text: say(text, err=True))
        print_dry_run(plan, machine, how)
    elif seat and seat.rank:
        follow(paths, seat, config.node_timeout, machine, console, verbose=how.verbose)
    else:
        with told_of(config, paths, partial(tell, console)), led(config, paths, seat, console) as leader:
            _run(config, paths, scope, machine, console, leader, how)


def _run(
    config: RunConfig,
    paths: RunPaths,
    scope: Scope,
    machine: Machine,
    console: Console,
    leader: Leader | None,
    how: How,
) -> None:
    keep_in(paths.log("alphaf"))
    plan = make_plan(config, machine, paths.root, scope)
    if leader is None:
        refuse_unknown_seat(plan)
    with warm_programs(how.warm, config, machine, console):
        plan = ready_plan(plan, console, verbose=how.verbose)
        for line in allowed_lines(plan):
            tell(console, f"allowed by {line}")
        tell_notes(plan)
        before = _changed(paths.manifest)
        run_plan(plan, machine, console, verbose=how.verbose, leader=leader)
    if _changed(paths.manifest) != before or lacks_card(paths):
        write_model_card(paths)
    show_run(run_json(paths), as_json=how.as_json, quiet=how.quiet)


def show_run(run: Mapping[str, Any], *, as_json: bool, quiet: bool = False) -> None:
    """Print a run as it stands: as JSON, whole, or with `quiet` the model that it came to."""
    if as_json:
        answer("run", run)
    elif not quiet:
        print_run(out_console(), run)
    elif run["model"]:
        say(f"model: {run['model']}")


def _changed(file: Path) -> int:
    """Return when a file was last written, 0 where there is none."""
    return file.stat().st_mtime_ns if file.is_file() else 0
