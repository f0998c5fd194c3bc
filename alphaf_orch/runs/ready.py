"""A plan that can be run: what runs share, a base model or data of the hub, is here before the rest is planned."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console

from alphaf_orch.planning.plan import Plan, make_plan
from alphaf_orch.runs.runner import run_plan


def ready_plan(plan: Plan, console: Console, *, verbose: bool, only: Collection[str] | None = None) -> Plan:
    """Return the plan itself where nothing is to be made or fetched; else do that, and plan anew with what is there.

    With `only` no other stages are meant to run here, and nothing is asked of this machine for them.
    """
    if not plan.prepares:
        return plan
    asked = plan.resolved
    run_plan(plan, asked.machine, console, prepare=True, verbose=verbose, only=only)
    return make_plan(asked.config, asked.machine, asked.paths.root, asked.scope)
