"""What a stage begins with: what is damaged out of its way, its work of an earlier try, its newest whole checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import interruptible
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.inputs.weights import weights_problem
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs import checkpoints
from alphaf_orch.runs.checkpoints import Start
from alphaf_orch.runs.damage import set_aside
from alphaf_orch.runs.status import Status, hashed


def say_cached(console: Console, plan: Plan, found: Sequence[Status]) -> None:
    """Say that nothing is to do, and what of it is damaged all the same."""
    names = [status.stage.name for status in found]
    tell(console, f"run {plan.paths.full_name}: nothing to do, {', '.join(names)} are done")
    for status in found:
        if status.state == "damaged":
            say_kept(console, status)


def say_kept(console: Console, status: Status) -> None:
    """Say why a stage is not run."""
    if status.state == "damaged":
        tell(console, f"warning: {status.stage.name} is damaged: {status.reason}")
    else:
        tell(console, f"{status.stage.name}: {status.reason}, kept", style="dim")


def put_aside(status: Status, paths: RunPaths, console: Console) -> None:
    """Move what is damaged of a stage out of the way of the program that makes it anew."""
    tell(console, f"{status.stage.name}: damaged: {status.reason}")
    with writing(paths.root):
        folder = set_aside(status.stage, paths)
    if folder:
        tell(console, f"{status.stage.name}: what is left of it is in {folder}")


def writes_hashes(stage: Stage, manifest: Mapping[str, Any]) -> bool:
    """Return whether each checkpoint in the folder of a training has hashes beside it: all are by a trainer of ours."""
    if stage.checkpoints is None:
        return False
    plugins = stage.own_file.values.get("plugins") or () if stage.own_file else ()
    ours = stage.section == "dpo" or any(str(name).endswith(".AlphafPlugin") for name in plugins)
    begun = manifest["stages"].get(stage.name)
    return ours and (hashed(begun or {}) or not checkpoints.newest_first(stage.checkpoints))


def find_start(stage: Stage, recorded: bool, console: Console) -> Start | None:
    """Return where a training goes on, having read the checkpoint whole, and say which newer ones are passed over.

    None for a stage that has no checkpoints. `recorded`: none counts that has no hashes beside it.
    """
    if stage.checkpoints is None:
        return None
    newest = checkpoints.seen(stage.checkpoints, recorded=recorded)
    if newest:
        tell(console, f"{stage.name}: reads {newest.name} whole before going on from it")
    start = checkpoints.start(stage.checkpoints, recorded=recorded)
    for reason in start.passed_over:
        tell(console, f"{stage.name}: {reason}")
    if start.passed_over:
        where = f"goes on from {start.checkpoint.name}" if start.checkpoint else "begins anew: no checkpoint is whole"
        tell(console, f"{stage.name}: {where}")
    return start


def resumably(stage: Stage, paths: RunPaths) -> contextlib.AbstractContextManager[None]:
    """Raise Interrupted, which says how the run goes on, where Ctrl-C ends what is done inside."""
    return interruptible(stage.name, paths.root, "the same command goes on from the last checkpoint")


def already_published(stage: Stage, manifest: Mapping[str, Any]) -> bool:
    """Return whether the stage put its last file in place and only its record was cut off, by a crash.

    Programs of ours do so by a rename at their very end; the outputs are judged all the same. A base model in the
    cache may be another run's work.
    """
    if not stage.written_last or not all(path.exists() for path in stage.written_last):
        return False
    if stage.kind == "prepare":
        return True
    before = manifest["stages"].get(stage.name, {})
    if before.get("state") in (None, "done") or before["fingerprint"] != stage.fingerprint:
        return False
    return stage.kind not in ("train", "merge") or weights_problem(stage.outputs[0]) is None


def clear_half_merged(stage: Stage, paths: RunPaths, console: Console) -> None:
    """Move a merged model out of the way that is not whole or has no report: the merge would refuse to begin."""
    if stage.kind == "merge" and stage.written_last and stage.outputs[0].exists():
        with writing(paths.root):
            folder = set_aside(stage, paths)
        tell(console, f"{stage.name}: what an earlier try left half-written is in {folder}")
