"""Whether a stage's outputs are what was planned, read from the files alone: exit codes prove nothing here."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

from alphaf_orch.errors import StageError


def safetensors_problem(path: Path) -> str | None:
    """Return why a safetensors file is not whole, or None; reads its header only.

    Layout: 8 bytes little-endian header length, JSON header with `data_offsets`, then the data
    (https://github.com/huggingface/safetensors, README "Format").
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            return f"{path} is cut off: {size} bytes, header of {length}"
        try:
            header = json.loads(file.read(length))
        except (json.JSONDecodeError, UnicodeDecodeError):
            return f"{path} has no readable header"
    end = max((t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"), default=0)
    if size != 8 + length + end:
        return f"{path} is cut off: {size} of {8 + length + end} bytes"
    return None


def weights_problem(folder: Path) -> str | None:
    """Return why the safetensors weights of a model or adapter folder are not whole, or None."""
    if not folder.is_dir():
        return f"{folder} does not exist"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        return f"{folder} holds no safetensors file"
    for name in names:
        if not (folder / name).is_file():
            return f"{folder / name} is missing"
        problem = safetensors_problem(folder / name)
        if problem:
            return problem
    return None


def trainer_state(folder: Path) -> dict[str, Any] | None:
    """Return trainer_state.json of a checkpoint, or None where there is none that can be read."""
    try:
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return state if isinstance(state, dict) and isinstance(state.get("global_step"), int) else None


def checkpoint_problem(folder: Path) -> str | None:
    """Return why training cannot go on from a checkpoint, or None: state, weights and optimizer must be whole."""
    if trainer_state(folder) is None:
        return f"{folder} has no readable trainer_state.json"
    problem = weights_problem(folder)
    if problem:
        return problem
    for name in ("optimizer.pt", "scheduler.pt"):
        if not zipfile.is_zipfile(folder / name):
            return f"{folder / name} is missing or cut off"
    return None


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint-N folders, highest N first."""
    found = [p for p in folder.glob("checkpoint-*") if p.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("checkpoint-")), reverse=True)


def newest_valid_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that training can go on from (a higher number may be empty or cut off)."""
    return next((c for c in checkpoints(folder) if checkpoint_problem(c) is None), None)


def training_summary(stage: str, folder: Path, log: Path) -> dict[str, Any]:
    """Return steps, first and last loss, and rewards of a finished training; raise StageError where it is not finished.

    Finished means: the newest valid checkpoint stands at the planned step, every logged loss is finite and
    the weights in the output folder are whole.
    """

    def fail(what: str) -> StageError:
        return StageError(
            f"{stage}: {what}",
            where=f"{folder}; log: {log}",
            fix="read the log; the same command resumes the run",
        )

    newest = newest_valid_checkpoint(folder)
    state = trainer_state(newest) if newest else None
    if state is None:
        raise fail("no valid checkpoint was written")
    step, planned = state["global_step"], state.get("max_steps")
    if step != planned:
        raise fail(f"stopped at step {step} of {planned}")
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    if not losses:
        raise fail("no loss was logged")
    if not all(isinstance(loss, int | float) and math.isfinite(loss) for loss in losses):
        raise fail("the loss is not finite")
    problem = weights_problem(folder)
    if problem:
        raise fail(problem)
    summary = {"steps": step, "loss_first": losses[0], "loss_last": losses[-1]}
    for key in ("rewards/accuracies", "rewards/margins"):
        values = [entry[key] for entry in state["log_history"] if key in entry]
        if values:
            # One step's accuracy is that of a handful of pairs: the second half of the steps is averaged.
            last = values[len(values) // 2 :]
            summary[key] = sum(last) / len(last)
    evals = [entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry]
    if evals:
        summary["eval_loss"] = evals[-1]
    return summary
