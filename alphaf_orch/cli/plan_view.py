"""A plan on one screen: its stages with amounts, time and memory, what lacks, and the sum; of an experiment by arm."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence

import click
from rich.console import Console

from alphaf_orch.cli.estimate_view import amounts, arms_lines, short_lines, time_and_hours
from alphaf_orch.cli.options import How
from alphaf_orch.cli.views import data_lines, facts_lines, plan_title, print_plan
from alphaf_orch.core.disk import existing, size
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.spoken import spoken
from alphaf_orch.core.tables import Table
from alphaf_orch.estimates.cost import StageCost
from alphaf_orch.estimates.measured import read_measured
from alphaf_orch.planning.forecast import Forecast
from alphaf_orch.planning.plan import Plan
from alphaf_orch.runs.expected import forecast_of
from alphaf_orch.runs.lacking_here import lacks
from alphaf_orch.runs.status import Status, statuses

WORDS = "alphaf.words"  # of main: in a command's context: the words that it was called with
_SOURCES = 4  # data sets of a training that are named
_ARMS = 16  # arms that have a row of their own
_MANY = 3  # things that lack
_STAGE_HEADS = ("stage", "state", "rows", "steps", "time", "memory", "why")
_ARM_HEADS = ("arm", "stages", "steps", "time", "memory")


def print_brief(console: Console, plan: Plan, found: Sequence[Status], costs: Forecast, lacking: Sequence[str]) -> None:
    """Print a plan without its files and commands: what each stage takes, the data, what lacks, the sum."""
    by_name = {cost.name: cost for cost in costs.stages}
    table = Table(*_STAGE_HEADS, title=plan_title(plan), title_justify="left")
    for status in found:
        cost = by_name.get(status.stage.name, StageCost(status.stage.name, memory_basis="", time_basis=""))
        table.add_row(status.stage.name, spoken(status.state), *amounts(cost), spoken(status.reason))
    console.print(table)
    for line in (*facts_lines(plan), *data_lines(plan, _SOURCES), *short_lines(costs)):
        tell(console, line)
    print_end(console, lacking, [], plan.disk_bytes)


def print_arms_end(
    console: Console,
    plans: Mapping[str, Plan],
    machine: Callable[[Plan], Machine],
    how: How,
    *,
    tools_here: bool = True,
) -> None:
    """Print what each arm still does and takes, what lacks, and the sum; where all is asked for, each plan first."""
    kept = read_measured()
    found = {name: statuses(plan, read_manifest(plan.paths.manifest)) for name, plan in plans.items()}
    costs = {name: forecast_of(plan, machine(plan), found[name], kept) for name, plan in plans.items()}
    for name, plan in plans.items() if how.full and tools_here else ():
        print_plan(console, plan, found[name], costs[name])
    table = Table(*_ARM_HEADS, title="in all", title_justify="left")
    for name, forecast in list(costs.items())[:_ARMS]:
        table.add_row(name, spoken(_stages(found[name])), *_arm_amounts(forecast))
    if len(costs) > _ARMS:
        table.add_row(spoken(f"and {len(costs) - _ARMS} more"), "", "", "", "")
    console.print(table)
    lacking = dict.fromkeys(
        each for name, plan in plans.items() for each in lacks(plan, machine(plan), found[name], tools_here=tools_here)
    )
    print_end(console, list(lacking), arms_lines(costs), None, full=how.full)


def print_end(
    console: Console, lacking: Sequence[str], lines: Iterable[str], disk: int | None, *, full: bool = False
) -> None:
    """Print what lacks, what all takes, and with which words the same command shows every file."""
    for each in lacking[:_MANY]:
        tell(console, f"lacks: {each}")
    if len(lacking) > _MANY:
        tell(console, f"lacks: {len(lacking) - _MANY} more, which a launch would tell")
    for line in lines:
        tell(console, line)
    if disk is not None:
        free = shutil.disk_usage(existing(runs_dir())).free
        tell(console, f"disk needed: about {size(disk)}, {size(free)} are free")
    if not full:
        tell(console, f"in full:  {same_words('--full')}")


def same_words(*more: str) -> str:
    """Return this call of alphaf as a line, with more words at its end."""
    context = click.get_current_context()
    return shlex.join(["alphaf", str(context.info_name), *context.meta.get(WORDS, ()), *more])


def _stages(found: Sequence[Status]) -> str:
    to_do = sum(status.to_do for status in found)
    done = len(found) - to_do
    return f"{to_do} to do, {done} done" if done else f"{to_do} to do"


def _arm_amounts(costs: Forecast) -> tuple[str, str, str]:
    """Return the steps of an arm's trainings, the time of all its stages, and the largest memory."""
    each = [amounts(cost) for cost in costs.trainings]
    widest = max(costs.trainings, key=lambda cost: cost.peak.value if cost.peak else 0, default=None)
    steps = " + ".join(steps for _, steps, _, _ in each if steps)
    return steps, time_and_hours(costs), amounts(widest)[3] if widest else ""
