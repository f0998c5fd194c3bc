"""`alphaf repair`: parse, call one function, print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, with_options
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.names import named_folder
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import copy_of
from alphaf_orch.core.spoken import say
from alphaf_orch.core.stored import absent, name_of
from alphaf_orch.experiments.damage import record_findings
from alphaf_orch.experiments.experiment import ExperimentPaths, working_on
from alphaf_orch.judging.damage import judge_findings
from alphaf_orch.runs.find import all_runs
from alphaf_orch.runs.repair import Finding, apply, findings, lock_findings
from alphaf_orch.runs.runner import locked
from alphaf_orch.scores.damage import score_findings


@command()
@click.argument("run")
@click.option("--apply", "mend", is_flag=True, help="Mend what can be mended; without it, only say so.")
@with_options("as_json")
def repair(run: str, mend: bool, as_json: bool) -> None:
    """Say what is wrong in the folder of a run or an experiment and what would mend it; with --apply, mend it.

    Nothing is deleted: what is damaged is moved to the run's folder `damaged`.
    """
    places = _places(run)
    found = [each for place in places for each in _found(place)]
    told = {"run": run, "findings": [_finding_json(each) for each in found], "mended": False}
    if as_json and not (found and mend):
        answer("repair", told)
        return
    if not found:
        say(f"nothing is wrong in {run}")
        return
    if not mend:
        _print(found, "would")
        say(f"nothing was changed; `alphaf repair {run} --apply` does it" if _mendable(found) else _NOTHING)
        return
    if not as_json:
        _print(found, "does")
    dead_end = next((each for each in _mend(places) if each.blocks), None)
    if as_json:
        answer("repair", {**told, "mended": dead_end is None})
    if dead_end:
        raise RunStateError(
            f"not mended: {dead_end.what}", where=str(dead_end.path), fix=dead_end.remedy, code="run.not_mended"
        )
    if as_json:
        return
    say(f"mended; `alphaf run --run {run}` goes on" if isinstance(places[0], RunPaths) else "mended")


_NOTHING = "nothing was changed, and nothing is to be done here but what stands above"
Place = RunPaths | ExperimentPaths


def _places(name: str) -> list[Place]:
    """Return the run of that name, or the experiment and its arms; raise RunStateError where there is neither."""
    first, _, arm = name.partition("/")
    root = named_folder(runs_dir(), first)
    if arm:
        root = named_folder(root, arm)
    if not root.is_dir():
        known = ", ".join(paths.name for paths in all_runs())
        fix = f"use one of: {known}" if known else "start one with `alphaf run`"
        raise RunStateError(f"there is no run {name}", where=str(runs_dir()), fix=fix, code="run.not_found")
    record = ExperimentPaths(root).record
    if absent(record) and absent(copy_of(record)):
        return [RunPaths(root), *_candidates(root)]
    arms = sorted(path.parent for path in root.glob("*/config.yaml"))
    return [ExperimentPaths(root), *(RunPaths(path) for path in arms)]


def _candidates(root: Path) -> Iterator[RunPaths]:
    """Yield the merges of a sweep, which are runs below their run."""
    for path in sorted(RunPaths(root).sweep.root.glob("*/config.yaml")):
        yield RunPaths(path.parent)


def _found(place: Place) -> list[Finding]:
    if isinstance(place, ExperimentPaths):
        return record_findings(place)
    return [*findings(place), *score_findings(place), *judge_findings(place)]


def _mend(places: Iterable[Place]) -> list[Finding]:
    """Mend what can be mended while nobody else works there, and return what is left for others to do."""
    left: list[Finding] = []
    for place in places:
        apply(lock_findings(place) if isinstance(place, RunPaths) else [])
        with ExitStack() as stack:
            stack.enter_context(working_on(place) if isinstance(place, ExperimentPaths) else locked(place))
            left += apply(_found(place))
    return left


def _finding_json(found: Finding) -> dict[str, Any]:
    about = {"path": str(found.path), "what": found.what, "remedy": found.remedy}
    return {**about, "mendable": found.mend is not None, "blocks": found.blocks}


def _mendable(found: Iterable[Finding]) -> bool:
    return any(each.mend for each in found)


def _print(found: Iterable[Finding], word: str) -> None:
    for each in found:
        name = name_of(each.path)
        place = each.path.relative_to(runs_dir() / name) if name else each.path
        told = f"{word}: {each.remedy}" if each.mend else f"next:  {each.remedy}"
        say(f"{place}: {each.what}\n  {told}")
