"""The judgement on a stage that ended, from its files; and what its log says of a failure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from alphaf_orch import verify
from alphaf_orch.command import Finished
from alphaf_orch.errors import ContractError, StageError
from alphaf_orch.hub_cache import weights_problem
from alphaf_orch.paths import RunPaths
from alphaf_orch.progress import read_metrics
from alphaf_orch.stages import MERGES, TRAINING, Stage

_EXCEPTION = re.compile(r"(\[rank\d+\]: )?[\w.]*(Error|Exception|Interrupt)\b")


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
        raise _exited(stage, finished, log)
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
        held = {"contract": {line["line"]: line["ok"] for line in contract["lines"]}}
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


def _exited(stage: Stage, finished: Finished, log: Path) -> StageError:
    ended = (
        f"exited with {finished.exit_code}"
        if finished.exit_code >= 0
        else f"was killed by signal {-finished.exit_code}"
    )
    hint = " (the kernel's out-of-memory killer sends 9)" if finished.exit_code == -9 else ""
    return StageError(
        f"{stage.name} {ended}{hint}: {said(log) or 'it said nothing'}",
        where=f"log: {log}",
        fix="mend the cause; the same command goes on from what is finished",
    )


def said(log: Path) -> str:
    """Return the last thing a tool's log says of a failure: our own `error:` block, else its last exception line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    start = max((i for i, line in enumerate(lines) if line.startswith("$ ")), default=0)
    lines = [line.rstrip() for line in lines[start + 1 :] if line.strip()]
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("error: "):
            return "\n".join(lines[number:]).removeprefix("error: ")
    named = [n for n, line in enumerate(lines) if _EXCEPTION.match(line)]
    if not named:
        return lines[-1].strip() if lines else ""
    # pydantic and torch say what is wrong in the lines behind the exception's name.
    return "\n".join(line.strip() for line in lines[named[-1] : named[-1] + 4])
