"""What is done about damaged files: refused to whoever would load them, set aside for a stage that is made anew."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.stages import MERGE_MODELS, MERGES, STAGE_ORDER, Stage, stage_name
from alphaf_orch.runs.sums import Damaged, How, found_damage
from alphaf_orch.runs.unrecorded import outputs, tree

if TYPE_CHECKING:  # who shows or talks to a model makes no plan
    from alphaf_orch.planning.plan import Plan

_MERGE_SFT, _MERGE_DPO = stage_name("merge", "sft"), stage_name("merge", "dpo")
# The stages whose results a stage loads.
_LOADS: Mapping[str, tuple[str, ...]] = {
    stage_name("train", "sft"): (stage_name("tokenise", "sft"),),
    _MERGE_SFT: (stage_name("data", "sft"), stage_name("train", "sft")),
    stage_name("data", "dpo"): (_MERGE_SFT,),
    stage_name("train", "dpo"): (_MERGE_SFT,),
    _MERGE_DPO: (_MERGE_SFT, stage_name("train", "dpo")),
}


def _loads(stage: Stage, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the stages whose results a stage loads."""
    if stage.name != MERGE_MODELS:
        return _LOADS.get(stage.name, ())
    upstream = stage.spec.get("upstream")
    return tuple(name for name in MERGES if manifest["stages"].get(name, {}).get("fingerprint") == upstream)


def by_stage(found: Iterable[Damaged], paths: RunPaths, manifest: Mapping[str, Any]) -> dict[str, list[Damaged]]:
    """Return the damage of each stage's result; a folder that two stages left is the result of both."""
    places = {
        name: outputs(name, paths, manifest["stages"][name]) for name in STAGE_ORDER if name in manifest["stages"]
    }
    hurt: dict[str, list[Damaged]] = {}
    for one in found:
        for name in places if one.needed else ():
            if name == one.stage or (places[name] and places[name] == places[one.stage]):
                hurt.setdefault(name, []).append(one)
    return hurt


def told(found: Collection[Damaged], root: Path) -> str:
    """Return the first of the damaged files and what is wrong with it, and how many more there are."""
    first = next(iter(found))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{first.path.relative_to(root)} {first.what}{more}"


def refuse(paths: RunPaths, stages: Collection[str], how: How) -> None:
    """Raise RunStateError where the result of one of these stages is damaged: nothing loads it."""
    manifest = read_manifest(paths.manifest)
    entries = {name: entry for name, entry in manifest["stages"].items() if name in STAGE_ORDER}
    places = {name: outputs(name, paths, entry) for name, entry in entries.items()}
    # A folder that two stages left is known by both.
    among = {name for name in places if any(places[name] == places.get(each) for each in stages)}
    hurt = by_stage(found_damage(paths, manifest, how, among), paths, manifest)
    for name in stages:
        if name in hurt:
            raise RunStateError(
                f"{name} of run {paths.full_name} is damaged: {told(hurt[name], paths.root)}",
                where=str(hurt[name][0].path),
                fix=f"`alphaf verify {paths.full_name}` names all that is; bring the files back from a copy, or"
                f" `alphaf run --run {paths.full_name}` sets them aside and makes them anew",
                code="run.damaged",
            )


def refuse_model(folder: Path, how: How) -> None:
    """Raise RunStateError where a model folder is the result of a run's stage and damaged; any other one is let be."""
    folder = folder.resolve()
    around = map(RunPaths, (folder, *folder.parents)[:4])
    paths = next((each for each in around if each.manifest.is_file() and folder in _results(each)), None)
    if paths is None:
        return
    stages = read_manifest(paths.manifest)["stages"]
    made = [name for name in STAGE_ORDER if name in stages and folder in outputs(name, paths, stages[name])]
    refuse(paths, made, how)


def _results(paths: RunPaths) -> set[Path]:
    """Return where stages of a run may leave a result; a manifest above another folder is none of a run, or not its."""
    kinds: tuple[Mapping[str, Any], ...] = ({}, {"spec": {"adapter": "full"}})
    return {place for name in STAGE_ORDER for entry in kinds for place in outputs(name, paths, entry)}


def refuse_loaded(stage: Stage, plan: Plan, manifest: Mapping[str, Any], how: How, made: Collection[str] = ()) -> None:
    """Raise RunStateError where anything that a stage loads is damaged: of this run, or a model of another one.

    What the stages `made` before it leave is not looked at.
    """
    refuse(plan.paths, [name for name in _loads(stage, manifest) if name not in made], how)
    resolved, merge = plan.resolved, plan.resolved.merge
    folders = [resolved.base.name] if resolved.base and stage.section == "sft" else []
    if stage.name == MERGE_MODELS and plan.merge and merge:
        own = str(resolved.model_dir(merge.section))
        folders += [own, plan.merge.base.path, *(partner.path for partner in plan.merge.partners)]
        if stage_name("merge", merge.section) in made:
            folders.remove(own)
    for folder in map(Path, folders):
        if folder.is_dir():
            refuse_model(folder, how)


def set_aside(stage: Stage, paths: RunPaths) -> Path | None:
    """Move what a damaged stage has left to a folder of its own and return that; checkpoints stay where they are.

    None where there is nothing to move, or where it is another stage's to make anew.
    """
    places = [place for place in stage.outputs if place.exists() and place.is_relative_to(paths.root)]
    if stage.kind == "merge" and not stage.written_last:
        return None  # full fine-tuning: the folder is the training's
    target = paths.set_aside(stage.name)
    moved = False
    for place in places:
        for file in tree(place) if stage.kind == "train" else (place,):
            new = target / file.relative_to(paths.root)
            new.parent.mkdir(parents=True, exist_ok=True)
            os.rename(file, new)  # noqa: PTH104  (one step, also of a folder)
            moved = True
    return target if moved else None
