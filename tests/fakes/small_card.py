"""A plugin for the real axolotl that stands for a card of one row: it raises torch's own error."""

from __future__ import annotations

from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


class Raises(TrainerCallback):
    """Raises where a micro batch holds more than one row, behind the second step."""

    def on_step_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if args.per_device_train_batch_size > 1 and state.global_step == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class SmallCard(BasePlugin):
    """Adds it."""

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        return [Raises()]
