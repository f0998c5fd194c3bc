"""A part of a plan: the stages that one job makes, and what has to be there before them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.status import Status


def meant(stage: Stage, only: Collection[str] | None) -> bool:
    """Return whether a stage is to be made: by name where some are named; what all runs share always is."""
    return only is None or stage.kind == "prepare" or stage.name in only


def up_to_the_last(found: Sequence[Status], only: Collection[str] | None) -> list[Status]:
    """Return the stages that are meant and all before them, in order."""
    last = max((number for number, status in enumerate(found) if meant(status.stage, only)), default=-1)
    return list(found[: last + 1])


def missing(status: Status, paths: RunPaths) -> RunStateError:
    """Return the error of a stage that has to be there before those that are meant, and is not."""
    return RunStateError(
        f"{status.stage.name} of run {paths.full_name} has to be there first, and is not: {status.reason}",
        where=str(paths.manifest),
        fix="give the command again that submitted this: it submits what is missing, in order",
        code="run.unfinished",
    )
