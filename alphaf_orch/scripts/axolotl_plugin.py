"""The axolotl plugin that adds our callbacks to its trainer; named `axolotl_plugin.AlphafPlugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axolotl.integrations.base import BasePlugin

if TYPE_CHECKING:
    from alphaf_orch.scripts.batch_record import BatchRecord
    from alphaf_orch.scripts.checkpoint_record import CheckpointRecord
    from alphaf_orch.scripts.cpu_quantization import KeepGradients
    from alphaf_orch.scripts.metrics_callback import MetricsCallback
    from alphaf_orch.scripts.orion import register
    from alphaf_orch.scripts.planned_end import end_at_the_planned_step
else:
    from batch_record import BatchRecord
    from checkpoint_record import CheckpointRecord
    from cpu_quantization import KeepGradients
    from metrics_callback import MetricsCallback
    from orion import register
    from planned_end import end_at_the_planned_step


class AlphafPlugin(BasePlugin):  # type: ignore[misc]
    """Adds our callbacks, our native classes and the end at the planned step; found by PYTHONPATH."""

    def register(self, cfg: Any) -> None:  # noqa: ARG002  (axolotl's signature)
        """Make our native classes known; axolotl calls this before it reads a model's config or tokenizer."""
        register()

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:  # noqa: ARG002  (axolotl's signature)
        """Keep a finished training that is resumed from being trained further."""
        end_at_the_planned_step(trainer)

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        """Return the callbacks for axolotl to add to the trainer it made."""
        return [MetricsCallback(), KeepGradients(), BatchRecord(), CheckpointRecord()]
