"""What is made before the arms of an experiment: what all of them read, once; and what keeps an arm from starting."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from alphaf_orch.core.errors import AlphafError, Interrupted
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import read_manifest
from alphaf_orch.experiments.experiment import Experiment, Outcome
from alphaf_orch.planning.plan import Plan
from alphaf_orch.runs.ready import ready_plan
from alphaf_orch.runs.status import safe_statuses


def prepare(
    experiment: Experiment, plans: Mapping[str, Plan], console: Console, *, verbose: bool
) -> dict[str, Outcome]:
    """Make or fetch what all arms read, once: arms at the same time would meet in the cache. Return who cannot start.

    Raises KeyboardInterrupt where Ctrl-C ends it.
    """
    made: set[str] = set()
    failed: dict[str, Outcome] = {}
    for arm in experiment.arms:
        plan = plans.get(arm.name)
        if plan is None or plan.preset.name in made or not plan.prepares:
            continue
        made.add(plan.preset.name)
        try:
            safe_statuses(ready_plan(plan, console, verbose=verbose), read_manifest(plan.paths.manifest))
        except Interrupted:
            raise KeyboardInterrupt from None
        except AlphafError as error:
            for other in experiment.arms:
                if other.config.model == arm.config.model and other.name in plans:
                    failed[other.name] = Outcome(other.name, "failed", error.exit_code, 0.0, error.message, error.code)
            tell(console, f"[{arm.name}] cannot start: {error.message}")
    return failed


def cannot_start(lacking: Mapping[str, AlphafError], console: Console) -> dict[str, Outcome]:
    """Return how arms ended that could not be planned, and say why of each."""
    for name, error in lacking.items():
        tell(console, f"[{name}] cannot start: {error.message}")
    return {
        name: Outcome(name, "failed", error.exit_code, 0.0, error.message, error.code)
        for name, error in lacking.items()
    }
