"""A plan that can be run: what runs share, a base model or data of the hub, is here before the rest is planned."""

from __future__ import annotations

from rich.console import Console

from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.runs.runner import run_plan


def ready_plan(plan: Plan, console: Console, *, verbose: bool) -> Plan:
    """Return the plan itself where nothing is to be made or fetched; else do that, and plan anew with what is there."""
    if not plan.prepares:
        return plan
    asked = plan.resolved
    run_plan(plan, asked.machine, console, prepare=True, verbose=verbose)
    return make_plan(asked.config, asked.machine, asked.paths.root, asked.scope)
