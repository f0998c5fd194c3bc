"""What a run that may be finished in part will still need and take."""

from __future__ import annotations

from collections.abc import Sequence

from alphaf_orch.core.hardware import Machine
from alphaf_orch.estimates.measured import Measured
from alphaf_orch.planning.forecast import Forecast, forecast, hardware
from alphaf_orch.planning.plan import Plan
from alphaf_orch.runs.status import Status


def forecast_of(
    plan: Plan, machine: Machine, found: Sequence[Status], kept: Sequence[Measured] | None = None
) -> Forecast:
    """Return the forecast of the stages that are not done, here or on the article's card.

    `kept` is what was measured on this machine; it is read where it is not given.
    """
    done = {status.stage.name for status in found if not status.to_do}
    return forecast(plan, hardware(machine, max(plan.gpus.values())), done, kept)
