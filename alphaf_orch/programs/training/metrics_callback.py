"""A trainer callback that appends one JSON line per log event to the file named by $ALPHAF_METRICS."""

from __future__ import annotations

import json
import math
import os
import resource
import time
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from alphaf_orch.programs.json_lines import cut_half_line


class MetricsCallback(TrainerCallback):  # type: ignore[misc]
    """Guarantees one appended line per log event, from the main process only; without a path, none.

    A line holds time (epoch seconds), step, max_steps, world_size, trainable_parameters, tokens_per_s (all ranks, since
    the event before), peak_memory_mib (the main process: allocated on its GPU, else resident) and every numeric value
    under the trainer's own name. JSON has no NaN: such a value is null and its name stands in `non_finite`.
    """

    def __init__(self, path: str | None = None) -> None:
        path = path or os.environ.get("ALPHAF_METRICS")
        self.path = Path(path) if path else None
        self.tokens = 0
        self.trainable: int | None = None
        self.begun_at = 0
        self.peak = 0.0
        self.clock = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        """Print how many ranks really started, and let a non-finite loss reach the log."""
        self.trainable = trainable_parameters(model)
        # The default puts the mean of earlier losses for a NaN: a diverged run would look healthy.
        args.logging_nan_inf_filter = False
        self.tokens, self.clock = tokens_seen(state), time.monotonic()
        self.begun_at = state.global_step
        self._look_at_memory()
        if state.is_world_process_zero:
            if self.path is not None:
                cut_half_line(self.path)
            print(f"training on {args.world_size} rank(s), {state.max_steps} steps", flush=True)

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """Have the loss of the first and the last step logged, however wide `logging_steps` is."""
        self._look_at_memory()
        if state.global_step in (1, state.max_steps):
            control.should_log = True

    def on_prediction_step(self, *_: Any, **__: Any) -> None:
        """Keep the peak of an evaluation."""
        self._look_at_memory()

    def _look_at_memory(self) -> None:
        # axolotl sets torch's peak back whenever it logs (utils/bench.py), before callbacks hear of the event.
        self.peak = max(self.peak, peak_memory_mib())

    def on_log(self, args: Any, state: Any, *_: Any, logs: dict[str, Any], **__: Any) -> None:
        """Append this event's line."""
        if self.path is None or not state.is_world_process_zero:
            return
        if "train_loss" in logs and state.global_step == self.begun_at:
            logs = {}  # means over the steps of this try, of which there was none: the trainer says 0
        values = {name: float(value) for name, value in logs.items() if isinstance(value, Real)}
        tokens, clock = tokens_seen(state), time.monotonic()
        if tokens > self.tokens:
            values["tokens_per_s"] = (tokens - self.tokens) / max(clock - self.clock, 1e-9)
        self.tokens, self.clock = tokens, clock
        self._look_at_memory()
        non_finite = sorted(name for name, value in values.items() if not math.isfinite(value))
        record: dict[str, Any] = {
            "time": time.time(),
            "step": state.global_step,
            "max_steps": state.max_steps,
            "world_size": args.world_size,
            "trainable_parameters": self.trainable,
            "peak_memory_mib": self.peak,
            **{name: None if name in non_finite else value for name, value in values.items()},
        }
        if non_finite:
            record["non_finite"] = non_finite
        if getattr(args, "fp16", False):
            record["fp16"] = True  # a loss scaler skips steps of infinite gradients
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def tokens_seen(state: Any) -> int:
    """Return the tokens of all ranks so far: axolotl's counter (padding included) or transformers' own."""
    axolotl = getattr(state, "tokens", None)
    if axolotl and "total" in axolotl:
        return int(axolotl["total"])
    return int(state.num_input_tokens_seen)


def trainable_parameters(model: Any) -> int | None:
    """Return how many parameters the trainer changes, as its optimizer counts them; None where no model is known."""
    return None if model is None else sum(p.numel() for p in model.parameters() if p.requires_grad)


def peak_memory_mib() -> float:
    """Return this process's peak in MiB: memory allocated on its GPU since it was last set back, or resident memory."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # Linux counts KiB
