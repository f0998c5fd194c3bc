"""`alphaf plan`: parse, call one function, print."""

from __future__ import annotations

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, option, out_console, with_options
from alphaf_orch.cli.plan_view import print_brief
from alphaf_orch.cli.site import site_of
from alphaf_orch.cli.views import plan_json, print_plan
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.spoken import say
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs.expected import forecast_of
from alphaf_orch.runs.lacking_here import lacks
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.status import statuses
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.options import Options, settings


@command()
@with_options("model", "run", "config", "data", "dpo_data", "sets", "gpus", "dpo_gpus", "nodes")
@with_options("trust_remote_code", "allow_pickle")
@option("full", help="Every rendered file and command, each line with its source.")
@with_options("as_json")
def plan(options: Options, as_json: bool, full: bool) -> None:
    """Show what `alphaf run` would do and take: stages, rows, steps, time, memory, what lacks; launches nothing."""
    chosen, paths = settings(options)
    machine = machine_of(chosen)
    made = make_plan(chosen, machine, paths.root, Scope(dry=True, merge=True))
    check_recipe(made, lambda text: say(text, err=True))
    found = statuses(made, read_manifest(paths.manifest))
    expected = forecast_of(made, machine, found)
    lacking = () if full and not as_json else lacks(made, machine, found, tools_here=chosen.on == "local")
    if as_json:
        answer("plan", plan_json(made, found, expected, lacking))
    elif full:
        print_plan(out_console(), made, found, expected)
    else:
        print_brief(out_console(), made, found, expected, lacking)


def machine_of(config: RunConfig) -> Machine:
    """Return the machine that a run is planned for: this one, or that of the site that its settings name."""
    site = site_of(config)
    return site.machine(config) if site else detect_machine()
