"""The judgement on a stage that ended, from its files; and what its log says of a failure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import Finished
from alphaf_orch.core.disk import told_of_disk
from alphaf_orch.core.errors import (
    AlphafError,
    ConfigError,
    ContractError,
    DataError,
    DiskError,
    ModelError,
    StageError,
)
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.inputs.identity import folder_identity
from alphaf_orch.inputs.weights import weights_problem
from alphaf_orch.planning.stages import MERGES, TRAINING, Stage
from alphaf_orch.runs import verify
from alphaf_orch.runs.tracebacks import HEADER, cause, oom_hint, without_launcher

# What the data stages end with when they refuse: settings, data, or what the model's tokenizer and rows allow.
_REFUSALS = {kind.exit_code: kind for kind in (ConfigError, DataError, ModelError)}
_FACTS = re.compile(r"(.*)\n  where: (.*)\n  next:  (.*)", re.DOTALL)
_EXCEPTION = re.compile(r"(\[rank\d+\]: )?[\w.]*(Error|Exception|Interrupt)\b")

_STOPPED = re.compile(r"error: .* was stopped by SIG")


def check_outputs(stage: Stage, paths: RunPaths, finished: Finished) -> dict[str, Any]:
    """Return what the finished stage's files say of it; raise StageError or ContractError where they are not whole."""
    log = paths.log(stage.name)
    report = paths.report(stage.name)
    if stage.name in MERGES and finished.exit_code == ContractError.exit_code:
        raise ContractError(
            f"{stage.name}: {said(log) or 'the hand-off contract is violated'}",
            where=f"{report}; log: {log}",
            fix="the merged folder is kept in .partial for inspection; nothing later was started",
        )
    if finished.exit_code and stage.name not in TRAINING:
        raise _refused(stage, finished, log) or _exited(stage, finished, log)
    if stage.name in TRAINING:
        try:
            _check_ranks(stage, paths)
            summary = verify.training_summary(stage.name, paths.adapter(stage.name), log, paths.metrics(stage.name))
            return {**summary, **_backend(paths)} if stage.name == "dpo" else summary
        except StageError:
            if finished.exit_code:
                raise _exited(stage, finished, log) from None
            raise
    for path in stage.outputs:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            raise StageError(
                f"{stage.name} ended without writing {path.name}",
                where=f"{path}; log: {log}",
                fix="read the log",
            )
    if stage.name in MERGES:
        problem = weights_problem(stage.outputs[0])
        contract = json.loads(report.read_text(encoding="utf-8"))
        if problem or not contract["ok"]:
            raise StageError(f"{stage.name}: {problem or 'contract not met'}", where=str(report), fix="read the log")
        held: dict[str, Any] = {"contract": {line["line"]: line["ok"] for line in contract["lines"]}}
        # Read now, while the files are still in memory: whoever evaluates the model finds it known.
        held["identity"] = folder_identity(stage.outputs[0])
        return {**held, "handled": contract["handled"]} if "handled" in contract else held
    if report.is_file() and stage.name in ("data", "dpo_data"):
        statistics: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return statistics
    return {}


def _backend(paths: RunPaths) -> dict[str, Any]:
    """Return which libraries DPO ran on (unsloth or transformers) and on what device, as the program wrote it."""
    said = json.loads((paths.adapter("dpo") / "backend.json").read_text(encoding="utf-8"))
    return {"backend": said["backend"], "device": said["device"]}


def _check_ranks(stage: Stage, paths: RunPaths) -> None:
    """Raise StageError where fewer processes trained than were launched, which no exit code tells."""
    # The file grows over all tries; a resumed one may run on fewer GPUs, so the last line counts.
    started = [row["world_size"] for row in read_metrics(paths.metrics(stage.name)) if "world_size" in row]
    if started and started[-1] != stage.processes:
        raise StageError(
            f"{stage.name} was launched with {stage.processes} processes, {started[-1]} trained",
            where=f"{paths.metrics(stage.name)}; log: {paths.log(stage.name)}",
            fix="check CUDA_VISIBLE_DEVICES and the log; the global batch was not the planned one, so use --run NEW",
        )


def _refused(stage: Stage, finished: Finished, log: Path) -> AlphafError | None:
    """Return the refusal with which a data stage ended, or None where it failed otherwise."""
    kind = _REFUSALS.get(finished.exit_code)
    facts = _FACTS.fullmatch(said(log))
    if stage.name not in ("data", "dpo_data") or kind is None or facts is None:
        return None
    return kind(facts[1], where=f"{facts[2]}; log: {log}", fix=facts[3])


def _exited(stage: Stage, finished: Finished, log: Path) -> AlphafError:
    ended = (
        f"exited with {finished.exit_code}"
        if finished.exit_code >= 0
        else f"was killed by signal {-finished.exit_code}"
    )
    fix = "mend the cause; the same command goes on from what is finished"
    return failure(f"{stage.name} {ended}{oom_hint(finished.exit_code)}", log, fix)


def failure(what: str, log: Path, fix: str) -> AlphafError:
    """Return the error of a program that failed, its log's words behind `what`: a DiskError where they are of a disk.

    Any other one is a StageError with the next step `fix`.
    """
    told = said(log)
    disk = told_of_disk(told, log)
    if disk:
        return DiskError(f"{what}: {disk.what}", where=f"{disk.where}; log: {log}", fix=disk.fix)
    return StageError(f"{what}: {told or 'it said nothing'}", where=f"log: {log}", fix=fix)


def said(log: Path) -> str:
    """Return what a tool's log says of a failure: our own `error:` block, else the cause that its exceptions name."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    start = max((i for i, line in enumerate(lines) if line.startswith("$ ")), default=-1)
    lines = [line.rstrip() for line in lines[start + 1 :]]
    blocks = [_block(lines[number:]) for number, line in enumerate(lines) if line.startswith("error: ")]
    whole = [block for block in blocks if "\n  next: " in block]
    stopped = [block for block in whole if _STOPPED.match(block)]
    # A rank that fails has the launcher stop the others, and each of them says so.
    own = [block for block in whole if block not in stopped] or ([] if whole else blocks[-1:])
    found = own[0] if own else cause(lines) or "".join(stopped[:1])
    if found:
        return found.removeprefix("error: ")
    lines = [line for line in without_launcher(lines) if line.strip()]
    named = [n for n, line in enumerate(lines) if _EXCEPTION.match(line)]
    if not named:
        return lines[-1].strip() if lines else ""
    # pydantic and torch say what is wrong in the lines behind the exception's name.
    return "\n".join(line.strip() for line in lines[named[-1] : named[-1] + 4])


def _block(lines: Sequence[str]) -> str:
    """Return our own block of three facts; behind it the launcher and other ranks go on."""
    ours = []
    for line in lines:
        if not line.strip() or line.endswith(HEADER):
            break
        ours.append(line)
        if line.startswith("  next: "):
            break
    return "\n".join(dict.fromkeys(ours))
