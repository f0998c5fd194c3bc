"""A run as one JSON value: the state of each stage, key metrics and paths."""

from __future__ import annotations

from typing import Any

from alphaf_orch.clusters.reasons import explained
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest, require_whole
from alphaf_orch.core.stored import absent, unreadable
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.runs import requeues
from alphaf_orch.runs.chain import MADE, model_folder, newest
from alphaf_orch.runs.damage import by_stage
from alphaf_orch.runs.damage import told as damage
from alphaf_orch.runs.jobs import Told, job_json, read_jobs, settle
from alphaf_orch.runs.standing import OPEN, Entry, Settled, Standing
from alphaf_orch.runs.sums import found_damage
from alphaf_orch.runs.watch.findings import recorded
from alphaf_orch.runs.watch.retry import cuts


def run_or_damage(paths: RunPaths, told: Told | None = None) -> dict[str, Any]:
    """Return run_json of a run, or of one whose manifest cannot be read its name, folder and what is wrong."""
    try:
        if absent(paths.manifest) and not paths.all_jobs():
            raise unreadable(paths.manifest, "it is gone")
        return run_json(paths, told)
    except RunStateError as error:
        return {
            "run": paths.full_name,
            "folder": str(paths.root),
            "damaged": error.what,
            "next": error.fix,
            "code": error.code,
        }


def run_json(paths: RunPaths, told: Told | None = None) -> dict[str, Any]:
    """Return the state of each stage of a run, key metrics and paths; `model` is the newest finished, merged one.

    A finished stage whose files are not what it wrote is "damaged", and its error says which. What was handed to a
    scheduler stands as `told` has it; where nobody asked, no job is shown.
    """
    manifest = read_manifest(paths.manifest)
    require_whole(manifest, paths.manifest)
    if told and paths.all_jobs() and paths not in told.kept:
        read_jobs(paths)  # says what is wrong with them
    told = told or Told()
    model = newest(paths, manifest, MADE)
    hurt = by_stage(found_damage(paths, manifest, "look"), paths, manifest)
    entries = manifest["stages"]
    handed = settle(entries, paths, told)
    stages = {}
    for name in STAGE_ORDER:
        entry = entries.get(name)
        if entry or name in handed:
            stages[name] = _stage(name, entry or {}, paths, handed.get(name))
        if name in hurt:
            stages[name] |= {"state": "damaged", "error": damage(hurt[name], paths.root), "code": "run.damaged"}
    return {
        "run": paths.full_name,
        "folder": str(paths.root),
        "base": manifest.get("model"),
        "base_model": manifest.get("base_model"),
        "base_revision": manifest.get("base_revision"),
        "created": manifest.get("created"),
        "model": str(model_folder(paths, model, manifest)) if model else None,
        "manifest": str(paths.manifest),
        "stages": stages,
        "jobs": [job_json(job, paths) for job in told.standings.get(paths, ())],
        "jobs_note": told.note or None,
    }


def _stage(name: str, entry: Entry, paths: RunPaths, handed: tuple[Settled, Standing] | None) -> dict[str, Any]:
    found, job = handed or (Settled(entry["state"]), None)
    return {
        "state": found.state,
        "started": entry.get("started"),
        "ended": entry.get("ended"),
        "seconds": entry.get("seconds"),
        "peak_memory_mib": entry.get("peak_memory_mib"),
        "result": entry.get("result"),
        "error": _error(entry, found),
        "code": entry.get("code") if entry.get("state") == found.state == "failed" else None,
        "watched": [finding.record() for finding in recorded(entry)],
        "retries": cuts(entry),
        "requeues": requeues.kept(entry),
        "log": str(paths.log(name)),
        "metrics": str(paths.metrics(name)) if paths.metrics(name).is_file() else None,
        "job": job_json(job, paths) if job else None,
        "reason": found.reason or None,
    }


def _error(entry: Entry, found: Settled) -> str | None:
    """Return why a stage is not done, from alphaf's own words and from those of its job."""
    if found.state in ("done", *OPEN):
        return entry.get("error") if entry.get("state") == found.state else None
    own = entry.get("error") if entry.get("state") == "failed" else None
    reason = f"cancelled {found.reason}" if found.state == "cancelled" and found.reason else found.reason
    by_its_job = explained(reason, "" if found.why == own else found.why)
    return "; ".join(filter(None, (own, by_its_job))) or None
