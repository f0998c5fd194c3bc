"""The axolotl plugin that adds our callbacks to its trainer; named `axolotl_plugin.AlphafPlugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axolotl.integrations.base import BasePlugin
from transformers import set_seed

if TYPE_CHECKING:
    from alphaf_orch.scripts.batch_record import BatchRecord
    from alphaf_orch.scripts.cpu_quantization import KeepGradients
    from alphaf_orch.scripts.metrics_callback import MetricsCallback
    from alphaf_orch.scripts.orion import register
else:
    from batch_record import BatchRecord
    from cpu_quantization import KeepGradients
    from metrics_callback import MetricsCallback
    from orion import register


class AlphafPlugin(BasePlugin):  # type: ignore[misc]
    """Adds three callbacks, our native classes and the seed; found because the scripts folder is on PYTHONPATH."""

    def register(self, cfg: Any) -> None:
        """Make our native classes known; axolotl calls this before it reads a model's config or tokenizer."""
        register()
        _seed(cfg)

    def pre_model_load(self, cfg: Any) -> None:
        """Seed the rows that loading adds for new tokens; each rank draws the same ones."""
        _seed(cfg)

    def pre_lora_load(self, cfg: Any, model: Any) -> None:  # noqa: ARG002  (axolotl's signature)
        """Seed the adapter's first weights anew, whatever loading drew: its Trainer does so only after them."""
        _seed(cfg)

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        """Return the callbacks for axolotl to add to the trainer it made."""
        return [MetricsCallback(), KeepGradients(), BatchRecord()]


def _seed(cfg: Any) -> None:
    """Seed Python, numpy and torch, on every device; 42 is axolotl's own where a recipe names none."""
    seed = cfg.get("seed")
    set_seed(42 if seed is None else int(seed))
