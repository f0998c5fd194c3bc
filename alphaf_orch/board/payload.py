"""What the board's page is told, as JSON values: everything there is, and apart from it what changes at every step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.board.pages import pages_of
from alphaf_orch.board.state import QUIET_S, Curve, Experiment, Run, Snapshot, Stage, Working
from alphaf_orch.core.called import as_called

Href = Callable[[str], str]


def everything(snapshot: Snapshot, href: Href) -> dict[str, Any]:
    """Return the runs and experiments; nothing in it changes while a stage takes its steps."""
    return {
        "root": str(snapshot.root),
        "runs": [_run(run, href) for run in snapshot.runs],
        "experiments": [_experiment(each, snapshot.runs, href) for each in snapshot.experiments],
        "pages": _pages("", snapshot.pages, href),
    }


def moving(snapshot: Snapshot, version: str) -> dict[str, Any]:
    """Return what changes at every step; `version` tells one value of everything else from another."""
    runs = {run.name: run for run in snapshot.runs}
    return {
        "version": version,
        "working": [_working(work, runs[work.run]) for work in snapshot.working],
        "cards": [
            {"name": card.name, "memory": card.memory, "used": card.used, "busy": card.busy}
            for card in snapshot.cards.cards
        ],
        "no_cards": snapshot.cards.problem,
    }


def look_json(snapshot: Snapshot, only: Sequence[str] | None, experiment: str) -> dict[str, Any]:
    """Return one look whole, with the paths of its pages; with `only` no more than those runs and the experiment."""

    pages = pages_of(snapshot)
    whole = {**everything(snapshot, lambda name: str(Path(*pages[name]))), **moving(snapshot, "")}
    whole = {"at": snapshot.at, **{key: value for key, value in whole.items() if key not in ("version", "pages")}}
    if only is None:
        return whole
    return {
        **whole,
        "runs": [run for run in whole["runs"] if run["name"] in only],
        "experiments": [each for each in whole["experiments"] if each["name"] == experiment],
        "working": [work for work in whole["working"] if work["run"] in only],
    }


def curve_json(curve: Curve) -> dict[str, Any]:
    """Return the points of a curve as short rows: the step and the figures."""
    return {
        "at": curve.at,
        "anew": curve.anew,
        "points": [[point.step, dict(point.figures)] for point in curve.points],
    }


def encoded(value: Any) -> tuple[bytes, str]:
    """Return the value as JSON, and what tells it from any other one."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
    return data, hashlib.sha256(data).hexdigest()[:32]


def _run(run: Run, href: Href) -> dict[str, Any]:
    return {
        "name": run.name,
        "experiment": run.experiment,
        "state": run.state,
        "base": run.base,
        "created": run.created,
        "stages": [
            {
                "name": stage.name,
                "state": stage.state,
                "seconds": stage.seconds,
                "started": stage.started,
                "told": stage.told,
                "job": stage.job,
                "findings": _findings(stage),
            }
            for stage in run.stages
        ],
        "damage": run.damage,
        "fix": as_called(run.fix),
        "pages": _pages(f"{run.name}/", run.pages, href),
    }


def _findings(stage: Stage) -> list[dict[str, Any]]:
    return [{"kind": each.kind, "step": each.step, "what": each.what} for each in stage.findings]


def _experiment(each: Experiment, runs: Sequence[Run], href: Href) -> dict[str, Any]:
    states = dict(each.arms or {})
    # What an arm does now is known of its own folder; the record is written when it ends.
    states |= {
        run.name.rpartition("/")[2]: run.state
        for run in runs
        if run.experiment == each.name and (run.state in ("working", "queued") or run.name not in states)
    }
    return {
        "name": each.name,
        "kind": each.kind,
        "created": each.created,
        "arms": states,
        "holder": each.holder,
        "damage": each.damage,
        "fix": as_called(each.fix),
        "pages": _pages(f"{each.name}/", each.pages, href),
    }


def _pages(prefix: str, names: Sequence[str], href: Href) -> list[dict[str, str]]:
    return [{"name": name, "href": href(f"{prefix}{name}")} for name in names]


def _working(work: Working, run: Run) -> dict[str, Any]:
    found = next((stage for stage in run.stages if stage.name == work.stage), None)
    quiet = work.quiet_s or 0.0
    return {
        "run": work.run,
        "stage": work.stage,
        "holder": work.holder,
        "since": work.since,
        "step": work.progress.step,
        "max_steps": work.progress.max_steps,
        "time": work.progress.time,
        "eta_s": work.progress.eta_s,
        "figures": dict(work.progress.figures),
        "at": work.at,
        "log": list(work.log),
        "quiet_s": quiet - quiet % 10 if quiet >= QUIET_S else None,
        "findings": _findings(found) if found else [],
        "stopping": run.stopping,
    }
