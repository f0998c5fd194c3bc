"""A trainer callback that ends a training whose loss is no number any more, before that is saved."""

from __future__ import annotations

import math
import os
from typing import Any

from transformers import TrainerCallback

from alphaf_orch.programs.common import FAILED, Failure


class FiniteLoss(TrainerCallback):  # type: ignore[misc]
    """Guarantees that no checkpoint is written behind a loss or gradient that is NaN or infinite, and no step trained.

    With a loss scaler (fp16) infinite gradients are those of steps that it skips. $ALPHAF_ON_UNHEALTHY=warn switches
    it off.
    """

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        """Have the loss logged before each checkpoint, so that it is known what is saved."""
        if control.should_save:
            control.should_log = True

    def on_log(self, args: Any, state: Any, *_: Any, logs: dict[str, Any], **__: Any) -> None:
        """Raise Failure at the first event with such a figure; every rank hears of the same ones."""
        if os.environ.get("ALPHAF_ON_UNHEALTHY") == "warn":
            return
        for name in ("loss", "train_loss", *(() if getattr(args, "fp16", False) else ("grad_norm",))):
            if not math.isfinite(float(logs.get(name, 0.0))):
                failure = Failure(
                    FAILED,
                    f"{name} is {logs[name]} at step {state.global_step}",
                    where=args.output_dir,
                    fix="lower learning_rate, or look for broken rows, under --run NEW; the same command goes on from"
                    " the last checkpoint before it, and meets it again where that is not chance",
                    code="stage.not_finite",
                )
                failure.show()
                raise failure
