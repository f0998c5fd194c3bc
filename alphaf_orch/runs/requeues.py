"""That the job of a stage was sent back to the queue, as the manifest keeps it: when, why, and what is left of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core import signals
from alphaf_orch.core.holder import restart_of, slurm_job
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import now, read_manifest, write_manifest

Entry = Mapping[str, Any]


def kept(entry: Entry) -> list[dict[str, Any]]:
    """Return what the record of a stage holds of it: `at`, `why`, `job`, `restart`, `checkpoint`, `limit` of each."""
    found = entry.get("requeues")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def in_job() -> dict[str, Any]:
    """Return the job that a stage begins in, and how often that was sent back before; nothing outside of one."""
    job = slurm_job(os.environ)
    return {"job": job, "restart": restart_of(os.environ)} if job else {}


def sent_back(entry: Entry, newest: Path | None) -> dict[str, Any]:
    """Return what is to be recorded of a stage that makes room now; nothing where it ends for another reason."""
    if not signals.goes_on_later():
        return {}
    return _with(entry, signals.name(), slurm_job(os.environ), restart_of(os.environ), newest, limit=_at_limit())


def in_vain(entry: Entry) -> bool:
    """Return whether this start and the one before it met the job's time limit, and gained nothing in between.

    A third one of the same length would gain as much. A preemption or a failed machine may come at any time.
    """
    before, last = ([{}, {}, *kept(entry)])[-2:]
    mine = last.get("job") == slurm_job(os.environ) and last.get("restart") == restart_of(os.environ)
    same = all(before.get(fact) == last.get(fact) for fact in ("job", "checkpoint", "limit"))
    return mine and same and _at_limit()


def not_sent_back(paths: RunPaths) -> None:
    """Take out of the manifest that a stage of this start was sent back: it is not, after all. The run is ours."""
    manifest = read_manifest(paths.manifest)
    mine = (slurm_job(os.environ), restart_of(os.environ))
    for entry in manifest["stages"].values():
        found = kept(entry)
        if found and mine[0] and (found[-1].get("job"), found[-1].get("restart")) == mine:
            entry["requeues"] = found[:-1]
            write_manifest(paths.manifest, manifest)


def _at_limit() -> bool:
    wished = signals.wishes().get("later")
    return wished is not None and wished.limit


def found_lost(before: Entry | None, checkpoint: Path | None) -> dict[str, Any]:
    """Return what is to be recorded of a stage whose job the scheduler sent back itself, of which nobody could say so.

    `before` is its record as the earlier start left it.
    """
    job, restart = slurm_job(os.environ), before.get("restart") if before else None
    if not before or not job or before.get("job") != job or not isinstance(restart, int):
        return {}
    known = any((each.get("job"), each.get("restart")) == (job, restart) for each in kept(before))
    if known or before.get("state") not in ("running", "interrupted") or restart >= restart_of(os.environ):
        return {}
    died = "it was lost without a word: its machine failed, or it was killed"
    why = died if before["state"] == "running" else "the scheduler stopped it and queued it again"
    return _with(before, why, job, restart, checkpoint)


def _with(
    entry: Entry, why: str, job: str, restart: int, newest: Path | None, *, limit: bool = False
) -> dict[str, Any]:
    facts = {"at": now(), "why": why, "job": job, "restart": restart, "checkpoint": newest.name if newest else ""}
    facts |= {"limit": True} if limit else {}
    return {"requeues": [*kept(entry), {key: value for key, value in facts.items() if value != ""}]}
