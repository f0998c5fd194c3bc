"""The axolotl plugin that adds our callbacks to its trainer; named `axolotl_plugin.AlphafPlugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axolotl.integrations.base import BasePlugin

if TYPE_CHECKING:
    from alphaf_orch.scripts.batch_record import BatchRecord
    from alphaf_orch.scripts.cpu_quantization import KeepGradients
    from alphaf_orch.scripts.metrics_callback import MetricsCallback
    from alphaf_orch.scripts.orion import register
    from alphaf_orch.scripts.rank_errors import record_uncaught
else:
    from batch_record import BatchRecord
    from cpu_quantization import KeepGradients
    from metrics_callback import MetricsCallback
    from orion import register
    from rank_errors import record_uncaught


class AlphafPlugin(BasePlugin):  # type: ignore[misc]
    """Adds three callbacks and our native classes, no more; found because the scripts folder is on PYTHONPATH."""

    def register(self, cfg: Any) -> None:  # noqa: ARG002  (axolotl's signature)
        """Make our native classes known; axolotl calls this before it reads a model's config or tokenizer."""
        record_uncaught()
        register()

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        """Return the callbacks for axolotl to add to the trainer it made."""
        return [MetricsCallback(), KeepGradients(), BatchRecord()]
