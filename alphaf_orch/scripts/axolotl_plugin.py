"""The axolotl plugin that adds our callbacks to its trainer; named `axolotl_plugin.AlphafPlugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axolotl.integrations.base import BasePlugin

if TYPE_CHECKING:
    from alphaf_orch.scripts.cpu_quantization import KeepGradients
    from alphaf_orch.scripts.metrics_callback import MetricsCallback
else:
    from cpu_quantization import KeepGradients
    from metrics_callback import MetricsCallback


class AlphafPlugin(BasePlugin):  # type: ignore[misc]
    """Adds two callbacks and changes nothing else; found because the scripts folder is on PYTHONPATH."""

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        """Return the callbacks for axolotl to add to the trainer it made."""
        return [MetricsCallback(), KeepGradients()]
