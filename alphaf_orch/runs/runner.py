"""Runs a plan: skip what is done, launch the rest, have the outputs judged, record each step."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from rich.console import Console

from alphaf_orch.core.command import Finished, printable
from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import AlphafError, Interrupted, OutOfMemory
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.heart import require_held
from alphaf_orch.core.lock import held
from alphaf_orch.core.masking import mask
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import fingerprint, now, read_manifest, required_json, write_manifest
from alphaf_orch.core.warm import WarmLost
from alphaf_orch.planning.amount import check_amount
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs import checkpoints, part, requeues, sharing, sums
from alphaf_orch.runs.attempt import Attempt
from alphaf_orch.runs.damage import refuse_loaded
from alphaf_orch.runs.done_line import done_line
from alphaf_orch.runs.head import write_head
from alphaf_orch.runs.interrupted import interrupts_told
from alphaf_orch.runs.launch import write_files
from alphaf_orch.runs.nodes.leader import Leader
from alphaf_orch.runs.outputs import check_outputs
from alphaf_orch.runs.preflight import check_all_gpus, check_devices, check_machine
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.remember import remember
from alphaf_orch.runs.rows_cache import drop_rows
from alphaf_orch.runs.starting import (
    already_published,
    clear_half_merged,
    find_start,
    put_aside,
    resumably,
    say_cached,
    say_kept,
    writes_hashes,
)
from alphaf_orch.runs.status import Status, safe_statuses
from alphaf_orch.runs.warm import begin_imports
from alphaf_orch.runs.watch import memory, retry
from alphaf_orch.runs.watch.stage import as_told, refuse_the_same_ruin

_RECORDED_ENV = re.compile(r"(HF_|CUDA_|NCCL_|WANDB_|MLFLOW_|AXOLOTL_|UNSLOTH_|ALPHAF_|TRANSFORMERS_|OMP_)")


@contextlib.contextmanager
def locked(paths: RunPaths) -> Iterator[int]:
    """Hold the run; raise RunStateError where another process has it or a tool of an earlier one lives on."""
    with held(paths.lock, f"the run {paths.full_name}", heed=paths.stop_wish) as lock_fd, interrupts_told(paths):
        yield lock_fd


def begin(plan: Plan) -> None:
    """Write down what the run is, as its first stage would; raise RunStateError where another process works on it."""
    with locked(plan.paths):
        write_head(plan, read_manifest(plan.paths.manifest))


def run_plan(
    plan: Plan,
    machine: Machine,
    console: Console,
    *,
    verbose: bool,
    prepare: bool = False,
    leader: Leader | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Run the stages that are not done (with `prepare` those alone that all runs share) and return the manifest.

    With `only` those stages alone: of what comes before them, what is not done has to be there in another arm of the
    experiment, else RunStateError names it. A stage that is spread over machines needs the `leader` that calls the
    others to it.
    Everything that can be refused is refused before the first launch. Raises StageError, ContractError or
    Interrupted for what happens later; the manifest then says so and the same call goes on from there.
    """
    manifest = read_manifest(plan.paths.manifest)
    looked_at = safe_statuses(plan, manifest)
    to_do = [status.stage for status in looked_at if status.to_do and part.meant(status.stage, only)]
    check_all_gpus(plan, machine, to_do)
    check_devices(plan, machine, to_do)
    pending = [stage for stage in to_do if (stage.kind == "prepare") == prepare]
    if not pending:
        say_cached(console, plan, [status for status in looked_at if part.meant(status.stage, only)])
        return manifest
    begin_imports(pending)  # meanwhile the machine is looked at
    versions = check_machine(plan, pending)
    if any(stage.name == "sft" for stage in to_do):  # before a base model is fetched for it
        check_recipe(plan, partial(tell, console), launches=True)
    with locked(plan.paths) as lock_fd:
        # Another call may have ended between the first look and the lock.
        manifest = read_manifest(plan.paths.manifest)
        found = safe_statuses(plan, manifest)
        write_head(plan, manifest)
        for status in part.up_to_the_last(found, only):
            if (status.stage.kind == "prepare") != prepare:
                continue
            if not status.to_do:
                if part.meant(status.stage, only):
                    say_kept(console, status)
                _check_amount(status.stage, found, plan.paths, console)
                continue
            mine = part.meant(status.stage, only)
            if status.state == "damaged" and mine:
                put_aside(status, plan.paths, console)
            with sharing.turn(status.stage, plan.paths, partial(tell, console)) as donor:
                if donor is None or not _take_over(status.stage, donor, plan.paths, manifest, console):
                    if not mine:
                        raise part.missing(status, plan.paths)
                    _run_stage(plan, status, manifest, console, lock_fd, versions, leader, verbose=verbose)
            _check_amount(status.stage, found, plan.paths, console)
    return manifest


def _check_amount(stage: Stage, found: tuple[Status, ...], paths: RunPaths, console: Console) -> None:
    """Raise DataError where the counted data cannot give the planned training a single step."""
    waiting = [status.stage for status in found if status.stage.kind == "train" and status.to_do]
    for trained in waiting if stage.kind == "data" else ():
        if trained.section != stage.section or trained.own_file is None:
            continue
        recipe, where = trained.own_file.values, str(paths.report(stage.name))
        report = required_json(paths.report(stage.name))
        for warning in check_amount(report, recipe, trained.processes, trained.name, where, nodes=trained.nodes):
            tell(console, f"warning: {warning}")


def _take_over(stage: Stage, donor: RunPaths, paths: RunPaths, manifest: dict[str, Any], console: Console) -> bool:
    """Record a stage that another arm of the experiment has made, its files now in this run too, if they fit in."""
    write_files(stage.files)
    begun = {"state": "running", "fingerprint": stage.fingerprint, "spec": stage.spec, "started": now()}
    log = str(paths.log(stage.name).relative_to(paths.root))
    # Weights that the manifest knows nothing of would be refused, should this be cut off.
    manifest["stages"].setdefault(stage.name, {**begun, "log": log})
    write_manifest(paths.manifest, manifest)
    entry = sharing.adopt(stage, donor, paths)
    if entry is None:
        return False
    manifest["stages"][stage.name] = {**entry, "origins": _origins(stage)}
    sums.record(stage, paths, entry)
    write_manifest(paths.manifest, manifest)
    tell(console, f"{stage.name}: done, shared with {entry['shared_from']}")
    return True


def _run_stage(
    plan: Plan,
    status: Status,
    manifest: dict[str, Any],
    console: Console,
    lock_fd: int,
    versions: Mapping[str, Mapping[str, str]],
    leader: Leader | None,
    *,
    verbose: bool,
) -> None:
    paths = plan.paths
    carried = retry.carried(manifest["stages"].get(status.stage.name), status.stage)
    refuse_the_same_ruin(status.stage, carried, plan.config, paths.metrics(status.stage.name))
    stage = as_told(retry.as_tried(status.stage, carried.get("retries", ()), plan.config), plan.config)
    adopted = already_published(stage, manifest)
    recorded = writes_hashes(stage, manifest)
    start = None
    if not adopted:
        clear_half_merged(stage, paths, console)
        with resumably(stage, paths):  # minutes, where a whole model is trained
            refuse_loaded(stage, plan, manifest, "use")
            start = find_start(stage, recorded, console)
    argv = stage.argv
    if start and start.checkpoint:
        argv = (*argv, f"--resume_from_checkpoint={start.checkpoint}")
    spread = leader if stage.nodes > 1 and not adopted else None
    if spread:
        with resumably(stage, paths):
            argv = spread.gather(stage, argv, versions[argv[0]], plan.gpus["sft"])
    entry: dict[str, Any] = {
        "state": "running",
        "fingerprint": stage.fingerprint,
        "version": stage.version,
        "spec": stage.spec,
        "argv": [mask(word) for word in argv],
        "command": mask(printable(argv)),
        "started": now(),
        "log": str(paths.log(stage.name).relative_to(paths.root)),
        "rendered": {path.name: fingerprint(file.text) for path, file in stage.files.items()},
        "origins": _origins(stage),
        "environment": sorted({*stage.env, *(name for name in os.environ if _RECORDED_ENV.match(name))}),
        "versions": versions[argv[0]],
        **requeues.in_job(),
        **carried,
        **requeues.found_lost(manifest["stages"].get(stage.name), start.checkpoint if start else None),
    }
    if recorded:
        entry["checkpoints"] = "hashed"
    if start and start.passed_over:
        entry["passed_over"] = list(start.passed_over)
    manifest["stages"][stage.name] = entry
    keep = partial(_write, paths, manifest)
    keep()
    kills = memory.kills()
    try:
        with writing(), resumably(stage, paths):
            finished = (
                Finished(0, 0.0, 0)
                if adopted
                else Attempt(paths, plan.config, console, lock_fd, spread, verbose=verbose).run(
                    stage, argv, entry, keep
                )
            )
            if spread:
                spread.working(failed=bool(finished.exit_code))
            entry |= {
                "exit_code": finished.exit_code,
                "seconds": round(finished.seconds, 1),
                "peak_memory_mib": finished.peak_memory_mib,
            }
            entry["result"] = check_outputs(stage, paths, finished)
            sums.record(stage, paths, entry)
    except WarmLost:  # as the next call would: what is half-written goes, a training goes on from its last checkpoint
        _run_stage(plan, status, manifest, console, lock_fd, versions, leader, verbose=verbose)
        return
    except Interrupted:
        newest = checkpoints.seen(stage.checkpoints) if stage.checkpoints else None
        entry |= {"state": "interrupted", "ended": now(), **requeues.sent_back(entry, newest)}
        keep()
        raise
    except AlphafError as failure:
        error = retry.judged(failure, stage, paths, plan.config, killed=memory.kills() > kills)
        entry |= {"state": "failed", "ended": now(), "error": error.what, "code": error.code}
        cut = retry.next_try(error, stage, entry, paths, plan.config)
        if cut:
            entry["retries"] = [*entry.get("retries", ()), cut]
            tell(console, retry.said(stage, cut, len(entry["retries"])))
        keep()
        if cut and spread:
            fix = "the same command, on all machines, goes on from the last checkpoint with the smaller cut"
            error = OutOfMemory(error.what, where=error.where, fix=fix, code=error.code, training=True)
        if not cut or spread:  # the other machines ended too: the same command, on all of them, makes the next try
            raise error from None
        _run_stage(plan, status, manifest, console, lock_fd, versions, leader, verbose=verbose)
        return
    entry |= {"state": "done", "ended": now()}
    keep()
    drop_rows(stage, paths)
    tell(console, done_line(stage, entry))
    if not entry.get("retries"):  # what it took is of another cut than the plan's
        remember(plan, stage, entry, partial(tell, console))
    for note in entry["result"].get("notes", ()):
        tell(console, f"{stage.name}: note: {note}")


def _write(paths: RunPaths, manifest: dict[str, Any]) -> None:
    """Write the manifest of a run that is still ours; raise RunStateError where another process took it over."""
    require_held(paths.lock)
    write_manifest(paths.manifest, manifest)


def _origins(stage: Stage) -> dict[str, Any]:
    """Return who set what in the stage's own file; no part of its fingerprint, which its values make."""
    found = stage.own_file.origins if stage.own_file else {}
    return {key: origin._asdict() for key, origin in found.items()}
