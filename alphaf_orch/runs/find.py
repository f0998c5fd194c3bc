"""The runs there are, found again by name, by age, by what they finished."""

from __future__ import annotations

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.stored import absent, mending
from alphaf_orch.planning.stages import stage_name
from alphaf_orch.runs.damage import refuse
from alphaf_orch.settings.options import run_paths

_MERGED = stage_name("merge", "sft")


def existing_run(name: str) -> RunPaths:
    """Return the paths of a run that exists; raise RunStateError naming the runs there are."""
    paths = run_paths(name)
    if not absent(paths.manifest):
        return paths
    if _begun(paths):
        raise RunStateError(
            f"run {name} has no manifest",
            where=str(paths.manifest),
            fix=f"`alphaf run --run {name}` begins it; where it had one, {mending(paths.manifest)}",
            code="run.no_manifest",
        )
    known = ", ".join(p.name for p in all_runs())
    raise RunStateError(
        f"there is no run {name}",
        where=str(runs_dir()),
        fix=f"use one of: {known}; or start one with `alphaf run`" if known else "start one with `alphaf run`",
        code="run.not_found",
    )


def submitted_run(name: str) -> RunPaths | None:
    """Return the paths of a run of which jobs were handed to a scheduler, begun or not; None where none were."""
    paths = run_paths(name)
    return paths if paths.all_jobs() else None


def all_runs() -> list[RunPaths]:
    """Return every folder that holds a run, be its manifest damaged or gone, the newest last."""
    folders = sorted(runs_dir().iterdir()) if runs_dir().is_dir() else []
    found = [RunPaths(folder) for folder in folders if folder.is_dir()]
    return sorted((paths for paths in found if not absent(paths.manifest) or _begun(paths)), key=_age)


def _begun(paths: RunPaths) -> bool:
    """Return whether a folder without a manifest is a run's: its settings are written first, or its jobs."""
    return absent(paths.experiment) and (paths.config.is_file() or bool(paths.all_jobs()))


def _age(paths: RunPaths) -> float:
    place = paths.root if absent(paths.manifest) else paths.manifest
    return place.lstat().st_mtime


def newest_run() -> RunPaths:
    """Return the newest run; raise RunStateError where there is none."""
    found = all_runs()
    if not found:
        raise RunStateError(
            "there is no run yet", where=str(runs_dir()), fix="start one with `alphaf run`", code="run.not_found"
        )
    return found[-1]


def last_finished_sft(
    none: str = "there is no finished SFT to start DPO from", fix: str = "run `alphaf sft --model M` first"
) -> RunPaths:
    """Return the run whose SFT was merged last; `none` and `fix` are what to say where there is none.

    Raises RunStateError where there is none, and where a newer one may be in a manifest that cannot be read.
    """
    done, damaged = [], []
    for paths in all_runs():
        try:
            entry = read_manifest(paths.manifest)["stages"].get(_MERGED, {})
        except RunStateError as error:
            damaged.append((_age(paths), paths.full_name, error))
            continue
        if entry.get("state") == "done":
            done.append((entry.get("ended") or "", paths))
    last = max(done, key=lambda pair: pair[0])[1] if done else None
    newer = [(name, found) for age, name, found in damaged if last is None or age > _age(last)]
    if newer:
        name, wrong = newer[-1]
        known = f", say --run {last.name} for the last one that can be read" if last else ""
        raise RunStateError(
            f"which SFT was finished last cannot be told: of run {name}, {wrong.what}",
            where=wrong.where,
            fix=f"name the run with --run{known}, or mend that one: {wrong.fix}",
            code=wrong.code,
        )
    if last is None:
        raise RunStateError(none, where=str(runs_dir()), fix=fix, code="run.not_found")
    return last


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
        f"the SFT of run {paths.full_name} is not finished: {state}",
        where=str(paths.manifest),
        fix=f"run `alphaf sft --run {paths.full_name}`: it goes on where it stopped",
        code="run.unfinished",
    )
