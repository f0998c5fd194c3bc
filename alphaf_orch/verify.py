"""Whether a training reached what was planned, read from its files alone: exit codes prove nothing here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from alphaf_orch import checkpoints
from alphaf_orch.errors import StageError
from alphaf_orch.hub_cache import weights_problem
from alphaf_orch.progress import read_metrics


def training_summary(stage: str, folder: Path, log: Path, metrics: Path) -> dict[str, Any]:
    """Return steps, first and last loss, and rewards of a finished training; raise StageError where it is not finished.

    Finished means: the newest valid checkpoint stands at the planned step, every logged loss is finite and
    the weights in the output folder are whole. Where no step's loss was logged, the trainer's mean in `metrics` counts.
    """

    def fail(what: str) -> StageError:
        return StageError(
            f"{stage}: {what}",
            where=f"{folder}; log: {log}",
            fix="read the log; the same command resumes the run",
        )

    newest = checkpoints.seen(folder)
    state = checkpoints.trainer_state(newest) if newest else None
    if state is None:
        raise fail("no valid checkpoint was written")
    step, planned = state["global_step"], state["max_steps"]
    if step != planned:
        raise fail(f"stopped at step {step} of {planned}")
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    # Earlier versions logged none where logging_steps was above the number of steps.
    losses = losses or [row["train_loss"] for row in read_metrics(metrics) if "train_loss" in row]
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
