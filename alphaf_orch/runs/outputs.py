"""The judgement on a stage that ended, from its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import Finished
from alphaf_orch.core.errors import (
    AlphafError,
    ConfigError,
    ContractError,
    DataError,
    ModelError,
    StageError,
)
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.record import required_json
from alphaf_orch.inputs.identity import folder_identity
from alphaf_orch.inputs.weights import weights_problem
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs import verify
from alphaf_orch.runs.launch import exited, said

# What the data stages end with when they refuse: settings, data, or what the model's tokenizer and rows allow.
_REFUSALS = {kind.exit_code: kind for kind in (ConfigError, DataError, ModelError)}
_FACTS = re.compile(r"(.*)\n  where: (.*)\n  next:  (.*)", re.DOTALL)
_NEXT = "mend the cause; the same command goes on from what is finished"


def check_outputs(stage: Stage, paths: RunPaths, finished: Finished) -> dict[str, Any]:
    """Return what the finished stage's files say of it; raise StageError or ContractError where they are not whole."""
    log = paths.log(stage.name)
    report = paths.report(stage.name)
    if stage.kind == "merge" and finished.exit_code == ContractError.exit_code:
        raise ContractError(
            f"{stage.name}: {said(log).text or 'the hand-off contract is violated'}",
            where=f"{report}; log: {log}",
            fix="the merged folder is kept in .partial for inspection; nothing later was started",
            code=said(log).code or "contract.broken",
        )
    if finished.exit_code and stage.kind != "train":
        raise _refused(stage, finished, log) or exited(stage.name, finished, log, _NEXT)
    if stage.kind == "train":
        try:
            _check_ranks(stage, paths)
            summary = verify.training_summary(stage.name, stage.outputs[0], log, paths.metrics(stage.name))
            return {**summary, **_backend(paths)} if stage.section == "dpo" else summary
        except StageError:
            if finished.exit_code:
                raise exited(stage.name, finished, log, _NEXT) from None
            raise
    for path in stage.outputs:
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            raise StageError(
                f"{stage.name} ended without writing {path.name}",
                where=f"{path}; log: {log}",
                fix="read the log",
                code="stage.output_missing",
            )
    if stage.kind == "merge":
        problem = weights_problem(stage.outputs[0])
        contract = required_json(report)
        if problem or not contract["ok"]:
            raise StageError(
                f"{stage.name}: {problem or 'contract not met'}",
                where=str(report),
                fix="read the log",
                code="stage.output_incomplete",
            )
        held: dict[str, Any] = {"contract": {line["line"]: line["ok"] for line in contract["lines"]}}
        # Read now, while the files are still in memory: whoever evaluates the model finds it known.
        held["identity"] = folder_identity(stage.outputs[0])
        return {**held, "handled": contract["handled"]} if "handled" in contract else held
    if report.is_file() and stage.kind == "data":
        return required_json(report)
    return {}


def _backend(paths: RunPaths) -> dict[str, Any]:
    """Return which libraries DPO ran on (unsloth or transformers) and on what device, as the program wrote it."""
    said = required_json(paths.adapter("dpo") / "backend.json")
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
            code="stage.other_ranks",
        )


def _refused(stage: Stage, finished: Finished, log: Path) -> AlphafError | None:
    """Return the refusal with which a data stage ended, or None where it failed otherwise."""
    kind = _REFUSALS.get(finished.exit_code)
    told = said(log)
    facts = _FACTS.fullmatch(told.text)
    if stage.kind != "data" or kind is None or facts is None:
        return None
    return kind(facts[1], where=f"{facts[2]}; log: {log}", fix=facts[3], code=told.code)
