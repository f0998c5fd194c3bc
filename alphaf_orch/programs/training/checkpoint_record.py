"""A trainer callback that writes the checksums of each checkpoint's weights beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from alphaf_orch.programs.checksums import write_checksums


class CheckpointRecord(TrainerCallback):  # type: ignore[misc]
    """Guarantees checksums for the weights that the main process has just saved."""

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Write them; the files are read back while the machine still has them in memory."""
        if state.is_world_process_zero:
            write_checksums(Path(args.output_dir) / f"checkpoint-{state.global_step}", args.world_size)
