"""Whether a training reached what was planned, read from its files alone: exit codes prove nothing here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import StageError
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.values import finite
from alphaf_orch.inputs.weights import weights_problem
from alphaf_orch.runs import checkpoints
from alphaf_orch.runs.watch.ruined import ruined


def nothing_learnt(history: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why a trainer's log shows that the data had nothing to teach, or None.

    Of two equal answers the gradients cancel but for rounding (norms of 3e-7 in float32, measured), which AdamW
    still turns into steps: both rewards drift, and their margin stays 0. A training that learns has norms above
    0.01; without a logged norm three steps must show it, for the first two may have the learning rate 0.
    """
    norms = [entry["grad_norm"] for entry in history if isinstance(entry.get("grad_norm"), int | float)]
    margins = [entry["rewards/margins"] for entry in history if "loss" in entry and "rewards/margins" in entry]
    if norms and not any(norms):
        return f"the gradient was 0 in all {len(norms)} logged steps, so no token had loss"
    if margins and not any(margins) and (statistics.median(norms) < 1e-3 if norms else len(margins) > 2):
        return f"chosen and rejected answers were the same to the model in all {len(margins)} logged steps (margin 0)"
    return None


def training_summary(stage: str, folder: Path, log: Path, metrics: Path) -> dict[str, Any]:
    """Return steps, first and last loss, and rewards of a finished training; raise StageError where it is not finished.

    Finished means: the newest valid checkpoint stands at the planned step, its weights and last loss are finite and
    the weights in the output folder are whole. Where no step's loss was logged, the trainer's mean in `metrics` counts.
    """

    def fail(what: str, *, code: str) -> StageError:
        return StageError(
            f"{stage}: {what}",
            where=f"{folder}; log: {log}",
            fix="read the log; the same command resumes the run",
            code=code,
        )

    newest = checkpoints.seen(folder)
    state = checkpoints.trainer_state(newest) if newest else None
    if state is None:
        raise fail("no valid checkpoint was written", code="stage.no_checkpoint")
    step, planned = state["global_step"], state["max_steps"]
    if step != planned:
        raise fail(f"stopped at step {step} of {planned}", code="stage.stopped_early")
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    # Earlier versions logged none where logging_steps was above the number of steps.
    losses = losses or [row["train_loss"] for row in read_metrics(metrics) if "train_loss" in row]
    if not losses:
        raise fail("no loss was logged", code="stage.no_loss")
    # One in between, of a batch whose labels are all masked, harms nothing: the last one and the weights tell.
    if not finite(losses[-1]) or (newest and ruined(newest, state)):
        raise fail("the loss is not finite", code="stage.not_finite")
    losses = [loss for loss in losses if finite(loss)]
    idle = nothing_learnt(state["log_history"])
    if idle:
        raise StageError(
            f"{stage}: nothing was learnt: {idle}",
            where=f"{folder}; log: {log}",
            fix="see the data report beside it: raise sequence_len or change the data, and use --run NEW",
            code="stage.nothing_learnt",
        )
    problem = weights_problem(folder)
    if problem:
        raise fail(problem, code="stage.output_incomplete")
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
