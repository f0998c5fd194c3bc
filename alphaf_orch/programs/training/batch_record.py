"""A trainer callback that writes what a training began with and saw: hashes of its weights and of each step's rows."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from alphaf_orch.programs.json_lines import cut_half_line


class BatchRecord(TrainerCallback):  # type: ignore[misc]
    """Guarantees one appended line a step in the file named by $ALPHAF_BATCHES, from the main process; else none.

    Before step 1 there is a line with `first_weights`; a training that resumes has none, for its weights are trained
    ones. The line of a step holds step, `ids` (a hash of every micro-batch's token ids in their order), and for each
    micro-batch its rows and its length in tokens, padding or packing included. Two trainings whose lines agree saw the
    same batches in the same order; NEFTune's noise is set by that length. A step trained again after a stop has a
    second line.
    """

    def __init__(self, path: str | None = None) -> None:
        path = path or os.environ.get("ALPHAF_BATCHES")
        self.path = Path(path) if path else None
        self.digest = hashlib.blake2s(digest_size=8)
        self.shapes: list[tuple[int, int]] = []
        self.hook: Any = None

    def on_train_begin(self, _args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        """Write what the training begins with, and look at what the model is called with from now on."""
        if self.path is None or not state.is_world_process_zero or self.hook is not None:
            return
        cut_half_line(self.path)
        if not state.global_step:
            self._append(first_weights(model))
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
        self._append(record)
        self.digest = hashlib.blake2s(digest_size=8)
        self.shapes = []

    def _append(self, record: dict[str, Any]) -> None:
        assert self.path is not None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Stop looking."""
        if self.hook is not None:
            self.hook.remove()
            self.hook = None


def first_weights(model: Any) -> dict[str, Any]:
    """Return hashes of the trainable parameters: `first_weights` of their values, `trainable` of names and shapes.

    Where a rank holds only a part of each (FSDP, ZeRO-3), the values are not known here and `first_weights` is None.
    """
    import torch

    values, names = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    count, whole = 0, True
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            continue
        whole &= not (hasattr(parameter, "full_tensor") or hasattr(parameter, "ds_id") or "_fsdp" in name)
        plain = name.replace("_orig_mod.", "").removeprefix("module.")
        names.update(json.dumps([plain, list(parameter.shape), str(parameter.dtype)]).encode())
        count += parameter.numel()
        if whole:
            # As bytes: numpy knows no bfloat16.
            values.update(parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return {
        "first_weights": values.hexdigest() if whole else None,
        "trainable": names.hexdigest(),
        "parameters": count,
    }
