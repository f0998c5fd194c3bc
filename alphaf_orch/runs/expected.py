"""What a run that may be finished in part will still need and take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.places import freed, hub_home
from alphaf_orch.estimates.measured import Measured
from alphaf_orch.planning.forecast import Forecast, forecast, hardware
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.status import Status


def forecast_of(
    plan: Plan, machine: Machine, found: Sequence[Status], kept: Sequence[Measured] | None = None
) -> Forecast:
    """Return the forecast of the stages that are not done, here or on the article's card.

    `kept` is what was measured on this machine; it is read where it is not given.
    """
    done = {status.stage.name for status in found if not status.to_do}
    return forecast(plan, hardware(machine, max(plan.gpus.values())), done, kept)


def disk_left(plan: Plan, pending: Sequence[Stage]) -> Mapping[Path, int]:
    """Return the bytes that the stages still to run need, by the folder they write to.

    What a stage itself left there counts as written: its checkpoints are gone on from, other files made again.
    """
    needs: dict[Path, int] = {}
    for stage in pending:
        needed = plan.disk.get(stage.name, 0)
        folder = plan.paths.root
        if stage.kind == "prepare":
            folder = stage.outputs[0].parent if stage.outputs else hub_home()
        needs[folder] = needs.get(folder, 0) + max(0, needed - freed(_own_files(stage)))
    return {folder: needed for folder, needed in needs.items() if needed}


def _own_files(stage: Stage) -> list[Path]:
    """Return what a stage has written; the merged model in a training's folder is another stage's."""
    found = [path for path in stage.outputs if path.exists()]
    if stage.kind != "train":
        return found if stage.kind == "tokenise" else []
    return [entry for folder in found for entry in folder.iterdir() if entry.name != "merged"]
