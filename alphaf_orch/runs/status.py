"""What would happen to each stage of a plan, and the refusal to overwrite what was made from other inputs."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import require_whole
from alphaf_orch.core.render import to_yaml
from alphaf_orch.core.stored import mending
from alphaf_orch.inputs.identity import EARLIER, is_old
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import MERGE_MODELS, Stage, stage_name
from alphaf_orch.runs import checkpoints
from alphaf_orch.runs.cleaned import was_cleaned
from alphaf_orch.runs.damage import by_stage, refuse_loaded, told
from alphaf_orch.runs.sums import Damaged, found_damage
from alphaf_orch.runs.unrecorded import outputs

_NO_CHECKPOINT = "no whole checkpoint is left to make it anew from"
State = Literal["new", "cached", "resume", "changed", "damaged"]


@dataclass(frozen=True)
class Status:
    """What would happen to a stage, and why."""

    stage: Stage
    state: State
    reason: str
    to_do: bool = True  # whether it would be run; what is cached is not, nor damage that nothing reads


def statuses(plan: Plan, manifest: Mapping[str, Any]) -> tuple[Status, ...]:
    """Return the state of every stage of the plan; reads the manifest and looks at outputs, changes nothing.

    Raises RunStateError where the manifest says less of a stage than every version has written.
    """
    require_whole(manifest, plan.paths.manifest)
    found = []
    hurt = by_stage(found_damage(plan.paths, manifest, "look"), plan.paths, manifest)
    for stage in plan.stages:
        entry = manifest["stages"].get(stage.name)
        lost = _lost(plan, stage, manifest)
        same = entry is not None and entry["fingerprint"] == stage.fingerprint
        if entry is None or stage.kind == "prepare":
            status = Status(stage, "new", "not run yet")
        elif not same and stage.name == MERGE_MODELS and lost:
            # Nothing follows from it in the run: a user who moved it away may merge anew.
            status = Status(stage, "new", f"{lost[0].name} is gone")
        elif not same and (entry["state"] == "done" or resumable(stage, entry)):
            status = Status(stage, "changed", f"its inputs are not those of {entry['started']}")
        elif entry["state"] == "done" and same and not lost and _checked_otherwise(stage, entry):
            status = Status(stage, "new", "other rows of the model are trained now: its tokens are checked anew")
        elif entry["state"] == "done" and same and not lost and stage.name in hurt:
            status = _damaged(stage, told(hurt[stage.name], plan.paths.root), plan, manifest, hurt)
        elif entry["state"] == "done" and same and not lost:
            status = Status(stage, "cached", f"done {entry['ended']}", to_do=False)
        elif entry["state"] == "done" and same:
            status = Status(stage, "new", f"{lost[0].name} is gone")
        else:
            checkpoint = resumable(stage, entry)
            reason = f"{entry['state']}; goes on from {checkpoint.name}" if checkpoint else f"{entry['state']} before"
            status = Status(stage, "resume" if checkpoint else "new", reason)
        found.append(status)
    return tuple(found)


def _lost(plan: Plan, stage: Stage, manifest: Mapping[str, Any]) -> list[Path]:
    """Return the outputs that are gone, those aside that were cleaned away once nothing of the plan read them more."""
    lost = [path for path in stage.outputs if not path.exists()]
    entry = manifest["stages"].get(stage.name, {})
    if not lost or not all(was_cleaned(entry, plan.paths, path) for path in lost):
        return lost
    later = plan.stages[plan.stages.index(stage) + 1 :]
    # Tokenised rows are read by the training and by the check of its merge.
    readers = [each for each in later if stage.kind != "tokenise" or each.section == stage.section]
    return [] if readers and all(_settled(plan, each, manifest) for each in readers) else lost


def _settled(plan: Plan, stage: Stage, manifest: Mapping[str, Any]) -> bool:
    entry = manifest["stages"].get(stage.name, {})
    done = (entry.get("state"), entry.get("fingerprint")) == ("done", stage.fingerprint)
    return done and not _lost(plan, stage, manifest)


def resumable(stage: Stage, entry: Mapping[str, Any]) -> Path | None:
    """Return the checkpoint from which a training stage would go on as its files look, unread, or None."""
    return checkpoints.seen(stage.checkpoints, recorded=hashed(entry)) if stage.checkpoints else None


def hashed(entry: Mapping[str, Any]) -> bool:
    """Return whether a training wrote down the hashes of every checkpoint that it saved, by its record."""
    return entry.get("checkpoints") == "hashed"


def _damaged(
    stage: Stage, what: str, plan: Plan, manifest: Mapping[str, Any], hurt: Mapping[str, list[Damaged]]
) -> Status:
    """Return what would become of a damaged stage: made anew, but for a training that all has been made of."""
    reader = {"train": stage_name("merge", stage.section), "tokenise": stage_name("train", stage.section)}.get(
        stage.kind
    )
    read = manifest["stages"].get(reader, {}) if reader else {}
    if reader and read.get("state") == "done" and reader not in hurt and _there(reader, plan.paths, read):
        return Status(stage, "damaged", f"{what}; left as it is: {reader} has been made of it", to_do=False)
    if stage.kind != "train":
        return Status(stage, "damaged", f"{what}; set aside and made anew")
    checkpoint = resumable(stage, manifest["stages"][stage.name])
    goes_on = f"set aside, goes on from {checkpoint.name}" if checkpoint else _NO_CHECKPOINT
    return Status(stage, "damaged", f"{what}; {goes_on}")


def _there(name: str, paths: RunPaths, entry: Mapping[str, Any]) -> bool:
    return all(place.exists() or was_cleaned(entry, paths, place) for place in outputs(name, paths, entry))


def _checked_otherwise(stage: Stage, entry: Mapping[str, Any]) -> bool:
    """Return whether a data stage let tokens pass that are not trained any more; an earlier version asked nothing.

    No part of its fingerprint: the counts are the same.
    """
    if stage.kind != "data" or stage.own_file is None:
        return False
    return entry.get("result", {}).get("model_rows") not in (None, stage.own_file.values["model_rows"])


def difference(stage: Stage, entry: Mapping[str, Any]) -> str:
    """Return what changed between a recorded stage and the planned one, as a unified diff of their inputs."""

    def lines(value: Any, prefix: str = "") -> list[str]:
        if isinstance(value, Mapping):
            return [line for key in sorted(value) for line in lines(value[key], f"{prefix}{key}.")]
        return [f"{prefix.rstrip('.')}: {to_yaml(value)}"]

    diff = difflib.unified_diff(lines(entry["spec"]), lines(stage.spec), "done", "asked for", n=0, lineterm="")
    told = [line for line in diff if not line.startswith("@@")]
    models = (*entry["spec"].get("partners", ()), entry["spec"].get("base"))  # of a merge
    return "\n".join([*told, *([f"({EARLIER})"] if any(map(is_old, models)) else ())])


def safe_statuses(plan: Plan, manifest: Mapping[str, Any]) -> tuple[Status, ...]:
    """Return the states; raise RunStateError with the difference where a finished stage was made from other inputs."""
    found = statuses(plan, manifest)
    for status in found:
        stage = status.stage
        unrecorded = _unrecorded_weights(stage, manifest)
        if unrecorded:
            raise RunStateError(
                f"{unrecorded} holds weights that the manifest knows nothing of",
                where=str(plan.paths.manifest),
                fix=f"move them away, or use --run NEW; {mending(plan.paths.manifest)}",
                code="run.unrecorded_weights",
            )
        lost = checkpoints.beyond_the_end(stage.checkpoints) if stage.checkpoints else None
        if lost and status.to_do:
            raise RunStateError(
                f"{stage.name} of run {plan.paths.full_name} stands at {lost.name}, beyond its planned end, and no"
                " checkpoint up to there is left (earlier versions trained a step more at each try)",
                where=str(lost.parent),
                fix=f"move {lost.parent} away and give the command again to train it anew, or use --run NEW",
                code="run.beyond_end",
            )
        if status.state == "damaged" and status.to_do and status.reason.endswith(_NO_CHECKPOINT):
            raise RunStateError(
                f"{stage.name} of run {plan.paths.full_name} is damaged: {status.reason}",
                where=str(stage.outputs[0]),
                fix=f"bring the file back from a copy; or, to train it from its beginning, move {stage.outputs[0]} away"
                " and give the same command",
                code="run.damaged",
            )
        if status.state == "changed":
            raise RunStateError(
                f"{stage.name} of run {plan.paths.full_name} was made from other inputs\n"
                + difference(stage, manifest["stages"][stage.name]),
                where=str(plan.paths.manifest),
                fix=_other_inputs(stage, manifest["stages"][stage.name]),
                code="run.other_inputs",
            )
    _refuse_inputs(found, plan, manifest)
    return found


def _refuse_inputs(found: tuple[Status, ...], plan: Plan, manifest: Mapping[str, Any]) -> None:
    """Raise RunStateError where a stage to run loads what is damaged and no stage of the plan makes anew."""
    planned = {status.stage.name for status in found}
    for status in found:
        if status.to_do and status.stage.kind != "prepare":
            refuse_loaded(status.stage, plan, manifest, "look", planned)


def _other_inputs(stage: Stage, entry: Mapping[str, Any]) -> str:
    if stage.name == MERGE_MODELS:
        return f"keep it and take the change back, or move {stage.outputs[0]} away to merge anew"
    back = _settings_of(stage, entry)
    return "keep it and use --run NEW for the new settings, or take the change back" + (f": {back}" if back else "")


def _settings_of(stage: Stage, entry: Mapping[str, Any]) -> str:
    """Return the options that give a finished training its own recipe again, also where only a default has changed."""
    old, new = entry["spec"].get("recipe", {}), stage.spec.get("recipe", {})
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    if stage.kind != "train" or any(isinstance(old.get(key), (Mapping, list)) for key in changed):
        return ""
    return " ".join(f"--set {shlex.quote(f'{stage.name}.{key}={to_yaml(old.get(key))}')}" for key in changed)


def _unrecorded_weights(stage: Stage, manifest: Mapping[str, Any]) -> Path | None:
    # Full fine-tuning has no folder of its own for the merged model: there the weights are the training stage's.
    writes_weights = stage.kind == "train" or (stage.kind == "merge" and stage.written_last)
    if not writes_weights or stage.name in manifest["stages"]:
        return None
    return next((path for path in stage.outputs if any(path.glob("*.safetensors"))), None)
