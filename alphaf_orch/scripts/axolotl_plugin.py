"""The axolotl plugin that adds the metrics callback to its trainer; named `axolotl_plugin.AlphafPlugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axolotl.integrations.base import BasePlugin

if TYPE_CHECKING:
    from alphaf_orch.scripts.metrics_callback import MetricsCallback
else:
    from metrics_callback import MetricsCallback


class AlphafPlugin(BasePlugin):  # type: ignore[misc]
    """Adds one callback and changes nothing else; found because the scripts folder is on PYTHONPATH."""

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        """Return the callback for axolotl to add to the trainer it made."""
        return [MetricsCallback()]
