"""The date of a run: what a chat template that writes today's date sees in every stage of it, whatever day it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir
from alphaf_orch.core.record import FORMAT, read_manifest, stored_json
from alphaf_orch.core.shapes import Dated
from alphaf_orch.core.stored import absent, unreadable

# What rendered the rows of a run that was begun before its date was written down.
_FIRST_STAGES = ("preprocess", "data")


def run_date(paths: RunPaths) -> str:
    """Return the run's date as YYYY-MM-DD: its own, that of the experiment or run it belongs to, or else today's.

    A run that was begun by an older version has the day on which its rows were tokenised. Raises RunStateError where
    one of these records is damaged.
    """
    record = {} if absent(paths.manifest) else read_manifest(paths.manifest)
    # An arm lies in its experiment, a sweep's candidate two folders below its run.
    owners = [folder / name for folder in list(paths.root.parents)[:2] for name in (EXPERIMENT_FILE, "manifest.json")]
    dates = (_date_of(_owner(file), file) for file in owners)
    return _date_of(record, paths.manifest) or next(filter(None, dates), date.today().isoformat())


def date_env(paths: RunPaths) -> dict[str, str]:
    """Return the variable by which every child program is told the run's date (programs/template_date.py)."""
    return {"ALPHAF_DATE": run_date(paths)}


def local_day(moment: str) -> str:
    """Return the date, on this machine's clock, of a moment written as ISO 8601; raise ValueError for another text."""
    return datetime.fromisoformat(moment).astimezone().date().isoformat()


def _owner(file: Path) -> Mapping[str, Any]:
    """Return the record that may be of the run's owner; what lies outside the runs may be anything."""
    try:
        return stored_json(file, Dated) or {}
    except RunStateError:
        if runs_dir() in file.parent.parents:
            raise
        return {}


def _date_of(record: Mapping[str, Any], path: Path) -> str | None:
    """Return the date that a manifest or an experiment's record holds; None for a file of something else."""
    if record.get("format") != FORMAT:
        return None
    if "date" in record:
        return str(record["date"])
    stages = record.get("stages", {})
    begun = [stages[name]["started"] for name in _FIRST_STAGES if stages.get(name, {}).get("started")]
    moment = begun[0] if begun else record.get("created")
    try:
        return local_day(moment) if moment else None
    except (ValueError, OverflowError):
        raise unreadable(path, f"{moment!r} is no moment") from None
