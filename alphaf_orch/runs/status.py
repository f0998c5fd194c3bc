"""What would happen to each stage of a plan, and the refusal to overwrite what was made from other inputs."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.record import require_whole
from alphaf_orch.core.render import to_yaml
from alphaf_orch.core.stored import mending
from alphaf_orch.inputs.identity import EARLIER, is_old
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import MERGE_MODELS, Stage
from alphaf_orch.runs import checkpoints

State = Literal["new", "cached", "resume", "changed"]


@dataclass(frozen=True)
class Status:
    """What would happen to a stage, and why."""

    stage: Stage
    state: State
    reason: str


def statuses(plan: Plan, manifest: Mapping[str, Any]) -> tuple[Status, ...]:
    """Return the state of every stage of the plan; reads the manifest and looks at outputs, changes nothing.

    Raises RunStateError where the manifest says less of a stage than every version has written.
    """
    require_whole(manifest, plan.paths.manifest)
    found = []
    for stage in plan.stages:
        entry = manifest["stages"].get(stage.name)
        lost = [path for path in stage.outputs if not path.exists()]
        same = entry is not None and entry["fingerprint"] == stage.fingerprint
        if entry is None or stage.kind == "prepare":
            status = Status(stage, "new", "not run yet")
        elif not same and stage.name == MERGE_MODELS and lost:
            # Nothing follows from it in the run: a user who moved it away may merge anew.
            status = Status(stage, "new", f"{lost[0].name} is gone")
        elif not same and (entry["state"] == "done" or resumable(stage)):
            status = Status(stage, "changed", f"its inputs are not those of {entry['started']}")
        elif entry["state"] == "done" and same and not lost and _checked_otherwise(stage, entry):
            status = Status(stage, "new", "other rows of the model are trained now: its tokens are checked anew")
        elif entry["state"] == "done" and same and not lost:
            status = Status(stage, "cached", f"done {entry['ended']}")
        elif entry["state"] == "done" and same:
            status = Status(stage, "new", f"{lost[0].name} is gone")
        else:
            checkpoint = resumable(stage)
            reason = f"{entry['state']}; goes on from {checkpoint.name}" if checkpoint else f"{entry['state']} before"
            status = Status(stage, "resume" if checkpoint else "new", reason)
        found.append(status)
    return tuple(found)


def resumable(stage: Stage) -> Path | None:
    """Return the checkpoint from which a training stage would go on as its files look, unread, or None."""
    return checkpoints.seen(stage.checkpoints) if stage.checkpoints else None


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
            )
        lost = checkpoints.beyond_the_end(stage.checkpoints) if stage.checkpoints else None
        if lost and status.state != "cached":
            raise RunStateError(
                f"{stage.name} of run {plan.paths.name} stands at {lost.name}, beyond its planned end, and no"
                " checkpoint up to there is left (earlier versions trained a step more at each try)",
                where=str(lost.parent),
                fix=f"move {lost.parent} away and give the command again to train it anew, or use --run NEW",
            )
        if status.state == "changed":
            raise RunStateError(
                f"{stage.name} of run {plan.paths.name} was made from other inputs\n"
                + difference(stage, manifest["stages"][stage.name]),
                where=str(plan.paths.manifest),
                fix=_other_inputs(stage, manifest["stages"][stage.name]),
            )
    return found


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
