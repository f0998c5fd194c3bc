"""The runs there are, found again by name, by age, by what they finished."""

from __future__ import annotations

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.runs.damage import refuse
from alphaf_orch.settings.options import run_paths

_MERGED = stage_name("merge", "sft")


def existing_run(name: str) -> RunPaths:
    """Return the paths of a run that exists; raise RunStateError naming the runs there are."""
    paths = run_paths(name)
    if not paths.manifest.is_file():
        known = ", ".join(p.name for p in all_runs()) or "none yet"
        raise RunStateError(
            f"there is no run {name}",
            where=str(runs_dir()),
            fix=f"use one of: {known}; or start one with alphaf run",
        )
    return paths


def all_runs() -> list[RunPaths]:
    """Return every run that has a manifest, the newest last."""
    found = [RunPaths(path.parent) for path in runs_dir().glob("*/manifest.json")]
    return sorted(found, key=lambda paths: paths.manifest.stat().st_mtime)


def newest_run() -> RunPaths:
    """Return the newest run; raise RunStateError where there is none."""
    found = all_runs()
    if not found:
        raise RunStateError("there is no run yet", where=str(runs_dir()), fix="start one with alphaf run")
    return found[-1]


def last_finished_sft() -> RunPaths:
    """Return the run whose SFT was merged last; raise RunStateError where there is none."""
    done = []
    for paths in all_runs():
        entry = read_manifest(paths.manifest)["stages"].get(_MERGED, {})
        if entry.get("state") == "done":
            done.append((entry["ended"], paths))
    if not done:
        raise RunStateError(
            "there is no finished SFT to start DPO from",
            where=str(runs_dir()),
            fix="run `alphaf sft --model M` first",
        )
    return max(done, key=lambda pair: pair[0])[1]


def finished_sft(paths: RunPaths) -> str:
    """Return the fingerprint of the run's merged SFT; raise RunStateError where it is damaged, or how far it came."""
    stages = read_manifest(paths.manifest)["stages"]
    merge = stages.get(_MERGED, {})
    if merge.get("state") == "done":
        refuse(paths, [_MERGED], "look")
        return str(merge["fingerprint"])
    sft = stages.get("sft", {})
    state = sft.get("state", "not started")
    if state == "done":
        state = f"done, its merge is {merge.get('state', 'not started')}"
    raise RunStateError(
        f"the SFT of run {paths.name} is not finished: {state}",
        where=str(paths.manifest),
        fix=f"run `alphaf sft --run {paths.name}`: it goes on where it stopped",
    )
