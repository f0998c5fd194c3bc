"""Which machine of a run this is: asked before anything starts, refused where a training needs it and nobody says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial

from rich.console import Console

from alphaf_orch.core.nodes import Seat, seat, unknown_rank
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.plan import Plan
from alphaf_orch.runs.nodes.leader import Leader, leading
from alphaf_orch.runs.status import safe_statuses
from alphaf_orch.settings.config import RunConfig


def here(config: RunConfig) -> Seat | None:
    """Return this machine's seat in the run; None where the run is one machine's."""
    return seat(config.nodes, os.environ) if config.nodes > 1 else None


@contextlib.contextmanager
def led(config: RunConfig, paths: RunPaths, found: Seat | None, console: Console) -> Iterator[Leader | None]:
    """Lead the other machines where this is the first of several; None where it is alone, or nobody says."""
    if found is None or found.rank is None:
        yield None
        return
    with leading(paths, found, config.nodes, config.node_timeout, partial(tell, console)) as leader:
        yield leader


def refuse_unknown_seat(plan: Plan) -> None:
    """Raise ConfigError where a training still to run is spread over machines and nobody says which one this is."""
    found = safe_statuses(plan, read_manifest(plan.paths.manifest))
    if any(status.stage.nodes > 1 and status.to_do for status in found):
        raise unknown_rank(plan.config.nodes, os.environ)
