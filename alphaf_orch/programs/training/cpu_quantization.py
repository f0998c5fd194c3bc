"""Keeps 4-bit weights trainable on a CPU after an evaluation has looked at them."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class KeepGradients(TrainerCallback):  # type: ignore[misc]
    """Guarantees that gradients pass through bitsandbytes' 4-bit layers for the whole training.

    On CPUs with AVX512-BF16 bitsandbytes 0.50.2 repacks the weights of a layer when it is evaluated first, and the
    kernel for repacked weights has no backward: until the next checkpoint unpacks them, what lies below a layer
    learns nothing through it. axolotl evaluates before the first step.
    """

    def on_train_begin(self, *_: Any, model: Any = None, **__: Any) -> None:
        """Switch the repacking off in every layer that has it."""
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
