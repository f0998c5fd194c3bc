"""What a finished run needs no more: found by its manifest and files, nothing changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir
from alphaf_orch.core.places import freed, last_used
from alphaf_orch.core.record import read_manifest, stored_json
from alphaf_orch.core.shapes import Experiment
from alphaf_orch.inputs.weights import weights_problem
from alphaf_orch.planning.stages import MERGE_MODELS, SECTIONS, Section, stage_name
from alphaf_orch.runs.chain import MADE, model_folder, newest
from alphaf_orch.runs.checkpoints import newest_first
from alphaf_orch.runs.cleaned import was_cleaned
from alphaf_orch.runs.sums import Damaged, found_damage

CLEANED = ".cleaned"  # what a folder's name ends in from its rename to the end of its deletion
_TOKENISE = stage_name("tokenise", "sft")
# What trainers and engines write into a checkpoint (transformers, peft, accelerate, torch.distributed.checkpoint,
# DeepSpeed) and we beside it: a folder that holds anything else is not ours alone, and stays.
_WRITTEN = (
    "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.distcp", ".metadata",
    "*config.json", "*_state.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*",
    "merges.txt", "chat_template*", "README.md", "latest", "zero_to_fp32.py", "alphaf_checksums*.json", "*.py",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """Something that may go: the stage whose output it is ("" for none), why, and what cannot be done without it."""

    path: Path
    kind: str
    why: str
    size: int  # bytes that deleting it alone frees: files that other runs share count as none
    used: float
    stage: str = ""
    lost: str = ""


@dataclass(frozen=True)
class Found:
    """What of a run may go, and why the rest, or all of it, is kept."""

    paths: RunPaths
    name: str
    items: tuple[Item, ...] = ()
    kept: tuple[str, ...] = ()


def everywhere(*, merged: bool) -> list[Found]:
    """Return what every run and every arm of an experiment needs no more."""
    found = [*runs_dir().glob("*/manifest.json"), *(file for each in _experiments() for file in arms(each))]
    return [of_run(RunPaths(file.parent), merged=merged) for file in sorted(found)]


def arms(experiment: Path) -> list[Path]:
    """Return the manifests of an experiment's arms."""
    return sorted(experiment.glob("*/manifest.json"))


def _experiments() -> list[Path]:
    return [file.parent for file in runs_dir().glob(f"*/{EXPERIMENT_FILE}")]


def of_run(paths: RunPaths, *, merged: bool) -> Found:
    """Return what a run needs no more; nothing of one that is in use, not finished, or cannot be judged.

    With `merged` also the models of the chain that only its next stage read.
    """
    arm = (paths.root.parent / EXPERIMENT_FILE).is_file()
    name = paths.full_name
    kept = _why_kept(paths, arm=arm) or in_use(paths)
    if kept:
        return Found(paths, name, kept=(kept,))
    return judged(paths, name, merged=merged)


def judged(paths: RunPaths, name: str, *, merged: bool) -> Found:
    """Return as of_run does; the caller has seen that the run is finished, and holds it or asked who does."""
    manifest = read_manifest(paths.manifest)
    items, kept = [*_left_behind(paths)], []
    hurt = [each for each in found_damage(paths, manifest, "look") if each.needed]
    for section in SECTIONS:
        if {section, stage_name("merge", section)} <= manifest["stages"].keys():
            problem = _damage(paths, section, manifest, hurt)
            if problem:
                kept.append(f"{section}: its checkpoints may be what is left: {problem}")
            else:
                items += _of_training(paths, section, manifest)
    if not kept:
        items += _set_aside(paths, manifest, hurt)
    if merged and not kept:
        items += [*_merged(paths, manifest), *_candidates(paths)]
    safe = []
    for item in items:
        foreign = _foreign(paths, item)
        if foreign:
            kept.append(f"{item.path.relative_to(paths.root)}: {foreign}")
        else:
            safe.append(item)
    return Found(paths, name, tuple(safe), tuple(kept))


@contextlib.contextmanager
def holding(paths: RunPaths) -> Iterator[None]:
    """Hold a run with its evaluation and answers; raise RunStateError where something works on it."""
    with contextlib.ExitStack() as locks:
        for lock in (paths.root.parent / ".lock", paths.lock, paths.eval_lock, paths.answers_lock):
            if lock == paths.lock or lock.is_file():
                locks.enter_context(held(lock, f"the run {paths.name}", to_make_room=True))
        yield


def in_use(paths: RunPaths) -> str:
    """Return who works on a run, "" where nobody does."""
    try:
        with holding(paths):
            return ""
    except AlphafError as error:
        return error.what


def _why_kept(paths: RunPaths, *, arm: bool) -> str:
    if paths.root.is_symlink() or paths.root.parent.is_symlink():
        return f"it is a link to {paths.root.resolve()}: no link is followed"
    try:
        stages = read_manifest(paths.manifest)["stages"]
        record = stored_json(paths.root.parent / EXPERIMENT_FILE, Experiment) if arm else None
    except RunStateError as error:
        return error.what
    states = {name: entry.get("state") for name, entry in stages.items()}
    open_ = next((name for name, state in states.items() if state != "done"), None)
    if open_ or not states:
        return f"not finished: {open_} is {states[open_]}" if open_ else "nothing is finished"
    left = [each["name"] for each in (record or {}).get("arms", ()) if each["state"] != "done"]
    return f"its experiment is not finished: arm {left[0]}, and arms share what they have made" if left else ""


def _damage(paths: RunPaths, section: Section, manifest: Mapping[str, Any], hurt: Sequence[Damaged]) -> str | None:
    """Return why a training's or its merge's files are not whole: then its checkpoints are not needless."""
    names = (section, stage_name("merge", section))
    wrong = next((each for each in hurt if each.stage in names), None)
    if wrong:
        return f"{wrong.path.relative_to(paths.root)} {wrong.what}"
    folder = model_folder(paths, section, manifest)
    merged_problem = None if was_cleaned(manifest["stages"][names[1]], paths, folder) else weights_problem(folder)
    return weights_problem(paths.adapter(section)) or merged_problem


def _of_training(paths: RunPaths, section: Section, manifest: Mapping[str, Any]) -> Iterator[Item]:
    why = f"{section} and its merge are done"
    for folder in newest_first(paths.adapter(section)):
        yield _item(folder, "checkpoint", why)
    if section == "sft" and _TOKENISE in manifest["stages"] and paths.prepared.is_dir():
        for folder in sorted(paths.prepared.iterdir()):
            if folder.is_dir() and not folder.name.endswith(CLEANED):
                yield _item(folder, "tokenised rows", why, stage=_TOKENISE)


def _merged(paths: RunPaths, manifest: Mapping[str, Any]) -> Iterator[Item]:
    """Yield the merged models before the run's newest one."""
    last = newest(paths, manifest, MADE)
    for section in SECTIONS:
        folder = paths.merged(section)
        if section == last or model_folder(paths, section, manifest) != folder or not folder.is_dir():
            continue
        if section == "dpo" and MERGE_MODELS not in manifest["stages"]:
            continue
        lost = f"the {section} model cannot be evaluated, judged or talked to until `alphaf {section}` made it anew"
        yield _item(
            folder, "merged model", f"only the next stage read it, and {last} is done",
            stage=stage_name("merge", section), lost=lost,
        )  # fmt: skip


def _candidates(paths: RunPaths) -> Iterator[Item]:
    """Yield the merges of a sweep, once the best of them is the run's."""
    if not paths.merged_models.is_dir():
        return
    for manifest in sorted(paths.sweep.root.glob("*/manifest.json")):
        folder = RunPaths(manifest.parent).merged_models
        if folder.is_dir():
            lost = "sweeping again merges it anew"
            yield _item(folder, "candidate of a sweep", "the best one is the run's merged model", lost=lost)


def _set_aside(paths: RunPaths, manifest: Mapping[str, Any], hurt: Sequence[Damaged]) -> Iterator[Item]:
    """Yield what stages have left that are made anew since; all else that was set aside may be all there is of it."""
    folder = paths.damaged
    if not folder.is_dir() or folder.is_symlink():
        return
    made_anew = manifest["stages"].keys() - {each.stage for each in hurt}
    for path in sorted(folder.iterdir()):
        stage = paths.set_aside_of(path)
        if stage in made_anew:
            yield _item(path, "set aside", f"{stage} left it, and is made anew since")


def _left_behind(paths: RunPaths) -> Iterator[Item]:
    scratch = paths.unfinished
    if scratch.is_dir() and not scratch.is_symlink():
        for path in sorted(scratch.iterdir()):
            yield _item(path, "scratch", "of a stage that has ended")
    for folder in (paths.root, paths.prepared, *(paths.adapter(section) for section in SECTIONS)):
        for path in sorted(folder.glob(f"*{CLEANED}")):
            yield _item(path, "scratch", "left by an `alphaf clean` that was cut off")


def _item(path: Path, kind: str, why: str, *, stage: str = "", lost: str = "") -> Item:
    return Item(path, kind, why, freed([path]), last_used(path), stage, lost)


def _foreign(paths: RunPaths, item: Item) -> str:
    """Return why something is not the run's own to delete, "" where it is."""
    path = item.path
    while path != paths.root:
        if path.is_symlink():
            return "a link, which is not followed"
        if path.is_mount():
            return "another disk is mounted there"
        path = path.parent
    if item.kind != "checkpoint":
        return ""
    for file in item.path.rglob("*"):
        if file.is_file() and not any(fnmatch(file.name, pattern) for pattern in _WRITTEN):
            return f"it holds {file.relative_to(item.path)}, which no trainer writes"
    return ""
