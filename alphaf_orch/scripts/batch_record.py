"""A trainer callback that writes what the model saw at each step: a hash of the token ids, rows and lengths."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from alphaf_orch.scripts.json_lines import cut_half_line
else:
    from json_lines import cut_half_line


class BatchRecord(TrainerCallback):  # type: ignore[misc]
    """Guarantees one appended line a step in the file named by $ALPHAF_BATCHES, from the main process; else none.

    A line holds step, `ids` (a hash of every micro-batch's token ids in their order), and for each micro-batch its
    rows and its length in tokens, padding or packing included. Two trainings whose lines agree saw the same batches in
    the same order; NEFTune's noise is set by that length. A step trained again after a stop has a second line.
    """

    def __init__(self, path: str | None = None) -> None:
        path = path or os.environ.get("ALPHAF_BATCHES")
        self.path = Path(path) if path else None
        self.digest = hashlib.blake2s(digest_size=8)
        self.shapes: list[tuple[int, int]] = []
        self.hook: Any = None

    def on_train_begin(self, _args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        """Begin to look at what the model is called with."""
        if self.path is not None and state.is_world_process_zero and self.hook is None:
            cut_half_line(self.path)
            self.hook = model.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = named.get("input_ids", positional[0] if positional else None)
        if not module.training or ids is None:
            return
        self.digest.update(ids.detach().cpu().contiguous().numpy().tobytes())
        self.shapes.append((int(ids.shape[0]), int(ids.shape[1])))

    def on_step_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Append the step's line."""
        if self.path is None or not self.shapes:
            return
        record = {
            "step": state.global_step,
            "ids": self.digest.hexdigest(),
            "rows": [rows for rows, _ in self.shapes],
            "lengths": [length for _, length in self.shapes],
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self.digest = hashlib.blake2s(digest_size=8)
        self.shapes = []

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Stop looking."""
        if self.hook is not None:
            self.hook.remove()
            self.hook = None
