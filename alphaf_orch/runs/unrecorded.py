"""The files of a finished stage as its manifest alone tells of them: where they lie, and what a look finds wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_json
from alphaf_orch.inputs.identity import folder_identity, is_old, settings_files
from alphaf_orch.inputs.weights import missing_files, weights_problem
from alphaf_orch.planning.stages import MERGE_MODELS, MERGES, SECTIONS, stage_name
from alphaf_orch.runs.cleaned import was_cleaned

_TRAINED = {stage_name("train", section): section for section in SECTIONS}
_COUNTED = tuple(stage_name("data", section) for section in SECTIONS)
_MERGED = {stage_name("merge", section): section for section in SECTIONS}


def outputs(name: str, paths: RunPaths, entry: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return where the result of a stage is that a later one, or a user, reads."""
    if name in _COUNTED:
        return (paths.report(name), paths.probe(name))
    if name in _TRAINED:
        return (paths.adapter(_TRAINED[name]),)
    if name in _MERGED:
        return (paths.model(_MERGED[name], full=entry.get("spec", {}).get("adapter") == "full"),)
    if name == MERGE_MODELS:
        return (paths.merged_models,)
    return (paths.prepared,) if name == stage_name("tokenise", "sft") else ()


def tree(place: Path, passing: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files of a stage's result, less checkpoints, and what is merged below the folder of a training."""
    if place.is_file():
        yield place
    for file in sorted(place.rglob("*")) if place.is_dir() else ():
        first = file.relative_to(place).parts[0]
        if first == "merged" or first.startswith("checkpoint-") or file.suffix in passing or not file.is_file():
            continue
        yield file


def damage(name: str, paths: RunPaths, entry: Mapping[str, Any], *, read: bool) -> Iterator[tuple[Path, str]]:
    """Yield each file, and what is wrong with it, of a stage whose hashes nobody kept: by names, headers and JSON.

    With `read` a merged model is compared with the fingerprint that its stage recorded, every byte read.
    """
    found = list(_seen(name, paths, entry))
    yield from found
    identity = entry.get("result", {}).get("identity")
    if read and not found and name in MERGES and identity and not is_old(identity):
        for place in outputs(name, paths, entry):
            if folder_identity(place) != identity:
                yield place, "is not what was written: its fingerprint is another"


def _seen(name: str, paths: RunPaths, entry: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for place in outputs(name, paths, entry):
        if not place.exists():
            # Rows that are trained on already may go.
            if name != stage_name("tokenise", "sft") and not was_cleaned(entry, paths, place):
                yield place, "is gone"
        elif place.is_dir() and not any(place.iterdir()):
            yield place, "is empty"
        elif place.is_file() and place.suffix == ".json" and read_json(place) is None:
            yield place, "is cut off or no JSON"
        elif name in _TRAINED or name in MERGES:
            yield from _model_damage(place, whole=name in MERGES)


def _model_damage(folder: Path, *, whole: bool) -> Iterator[tuple[Path, str]]:
    for lacking in missing_files(folder) if whole else ():
        file, _, why = lacking.partition(" (")
        yield folder / file, f"is not whole: {why.rstrip(')')}"
    wrong = None if whole else weights_problem(folder)
    if wrong:
        yield folder, f"is not whole: {wrong}"
    for settings in settings_files(folder):
        if settings.suffix == ".json" and settings.name != "config.json" and read_json(settings) is None:
            yield settings, "is cut off or no JSON"
