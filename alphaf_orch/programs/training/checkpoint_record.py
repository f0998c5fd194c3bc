"""A trainer callback that writes the hashes of each checkpoint's files beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from alphaf_orch.programs.checksums import write_checksums


class CheckpointRecord(TrainerCallback):  # type: ignore[misc]
    """Guarantees hashes for the files that this process has just saved; the first one answers for the common ones."""

    def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Write them; the files are read back while the machine still has them in memory."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_checksums(folder, args.world_size, args.process_index)
