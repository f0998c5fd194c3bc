"""A manifest that is damaged or gone, and what can take its place: its copy, or what the hashes of stages prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import FORMAT, copy_of, now, read_manifest, require_whole
from alphaf_orch.core.stored import Unreadable, absent
from alphaf_orch.planning.base import find_preset
from alphaf_orch.planning.stages import SECTIONS, STAGE_ORDER
from alphaf_orch.runs import sums
from alphaf_orch.settings.config import build_config, read_remembered


@dataclass(frozen=True)
class Put:
    """A manifest that may take the place of a damaged one, and where it is from."""

    manifest: dict[str, Any]
    how: str


def manifest_damage(paths: RunPaths) -> tuple[str, Put | str | None] | None:
    """Return what is wrong with the manifest and what may take its place; None where nothing is wrong.

    In place of a manifest: what to do where nothing proves one, or None where there is nothing to prove.
    """
    try:
        if absent(paths.manifest):
            if not _begun(paths):
                return None
            raise Unreadable("the manifest is gone", where=str(paths.manifest), fix="", code="run.no_manifest")
        _read(paths.manifest)
    except Unreadable as error:
        return error.what, _put(paths)
    return None


def _begun(paths: RunPaths) -> bool:
    """Return whether a run without a manifest has made anything that one would tell of."""
    copies = (copy_of(paths.manifest), *(paths.sums(name) for name in STAGE_ORDER))
    return any(not absent(path) for path in copies) or _weights(paths) is not None


def _weights(paths: RunPaths) -> Path | None:
    places = (folder for section in SECTIONS for folder in (paths.adapter(section), paths.merged(section)))
    return next((place for place in (*places, paths.merged_models) if any(place.glob("*.safetensors"))), None)


def _read(path: Path) -> dict[str, Any]:
    manifest = read_manifest(path)
    require_whole(manifest, path)
    return manifest


def _put(paths: RunPaths) -> Put | str | None:
    for path in (copy_of(paths.manifest), paths.manifest.with_name(paths.manifest.name + ".partial")):
        if not absent(path):
            try:
                return Put(_read(path), f"put back {path.name}, which is whole")
            except RunStateError:
                continue
    proven = _proven(paths)
    if proven["stages"]:
        names = ", ".join(proven["stages"])
        return Put(proven, f"write one anew of the stages whose files are what they wrote by their hashes: {names}")
    weights = _weights(paths)
    if weights is None:
        return None
    return (
        f"nothing proves what {weights} was made from: bring the manifest back from a copy of your own, or use"
        f" `alphaf run --run NEW`; to train in this run anew, move {weights} away"
    )


def _proven(paths: RunPaths) -> dict[str, Any]:
    """Return a manifest of the stages whose every file is the one that the stage wrote; of others nothing is said."""
    manifest: dict[str, Any] = {"format": FORMAT, "run": paths.name, "stages": {}, "rebuilt": now()}
    for name in STAGE_ORDER:
        entry = sums.kept_entry(name, paths)
        if entry is None:
            continue
        # The record is of the moment before the stage was done.
        done = {"result": {}, **entry, "state": "done", "ended": entry.get("ended") or entry.get("started")}
        alone: Mapping[str, Any] = {"format": FORMAT, "stages": {name: done}}
        try:
            require_whole(alone, paths.sums(name))
        except RunStateError:
            continue
        if not any(found.needed for found in sums.found_damage(paths, alone, "verify", (name,))):
            manifest["stages"][name] = done
    return {**manifest, **_named(paths)}


def _named(paths: RunPaths) -> dict[str, Any]:
    """Return of the head what the settings tell."""
    try:
        config = build_config(read_remembered(paths.config), str(paths.config))
        preset = find_preset(config)
    except AlphafError:
        return {}  # damaged too: a finding of its own
    kept = config.model_dump(mode="json", exclude_defaults=True)
    head = {"model": preset.name, "base_model": preset.base_model, "licence": preset.licence}
    return {**head, "base_revision": config.base_revision, "config": kept}
