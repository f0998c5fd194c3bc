"""A damaged record of an experiment, and what mends it."""

from __future__ import annotations

from functools import partial

from alphaf_orch.core import shapes
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.record import copy_of, stored_json, write_with_copy
from alphaf_orch.core.stored import absent, problem
from alphaf_orch.experiments.experiment import ExperimentPaths, read_record
from alphaf_orch.runs.repair import Finding, aside, replaced


def record_findings(paths: ExperimentPaths) -> list[Finding]:
    """Return what is wrong with the record and the lock of an experiment; its arms are runs of their own."""
    found = []
    if not absent(paths.lock) and (what := problem(paths.lock)):
        found.append(aside(paths.lock, paths.root, what, "a new one is made"))
    try:
        if absent(paths.record):
            raise RunStateError(
                "the record of the experiment is gone", where=str(paths.record), fix="", code="run.record_gone"
            )
        read_record(paths)
    except RunStateError as error:
        found.append(_record(paths, error.what))
    return found


def _record(paths: ExperimentPaths, what: str) -> Finding:
    try:
        kept = stored_json(copy_of(paths.record), shapes.Experiment)
    except RunStateError:
        kept = None
    if not kept:
        then = "the command that began the experiment records it anew and keeps the arms that are done"
        return aside(paths.record, paths.root, what, then)
    remedy = f"set it aside; put back {copy_of(paths.record).name}, which is whole"
    return replaced(paths.record, paths.root, what, remedy, partial(write_with_copy, paths.record, kept))
