"""The axolotl plugin that adds our callbacks to its trainer; named `axolotl_plugin.AlphafPlugin`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from axolotl.integrations.base import BasePlugin

if TYPE_CHECKING:
    from alphaf_orch.scripts.batch_record import BatchRecord
    from alphaf_orch.scripts.cpu_quantization import KeepGradients
    from alphaf_orch.scripts.data_stats import Failure
    from alphaf_orch.scripts.metrics_callback import MetricsCallback
    from alphaf_orch.scripts.nf4_check import check_nf4, linear_shapes
    from alphaf_orch.scripts.orion import register
    from alphaf_orch.scripts.packing_check import RowsApart
else:
    from batch_record import BatchRecord
    from cpu_quantization import KeepGradients
    from data_stats import Failure
    from metrics_callback import MetricsCallback
    from nf4_check import check_nf4, linear_shapes
    from orion import register
    from packing_check import RowsApart


class AlphafPlugin(BasePlugin):  # type: ignore[misc]
    """Adds four callbacks and our native classes, no more; found because the scripts folder is on PYTHONPATH."""

    def register(self, cfg: Any) -> None:
        """Make our native classes known, and refuse a 4-bit base of which bitsandbytes makes other values here.

        axolotl calls this before it reads a model's config or tokenizer: in preprocess, and in each rank.
        """
        register()
        if cfg.get("adapter") == "qlora":
            _check_base(cfg)

    def add_callbacks_post_trainer(self, *_: Any) -> list[Any]:
        """Return the callbacks for axolotl to add to the trainer it made."""
        return [MetricsCallback(), KeepGradients(), RowsApart(), BatchRecord()]


def _check_base(cfg: Any) -> None:
    import torch

    if torch.cuda.is_available() and os.environ.get("AXOLOTL_IS_PREPROCESS") == "1":
        return  # each rank asks its own card; a process that forks to tokenise opens none
    trust = bool(cfg.get("trust_remote_code"))
    try:
        shapes = linear_shapes(cfg["base_model"], cfg.get("revision_of_model"), trust_remote_code=trust)
    except OSError:
        return  # a config that is only validated, its model not here; where one is trained, axolotl says so
    try:
        dtype = torch.bfloat16 if cfg.get("bf16") is True else torch.float32
        check_nf4(shapes, dtype, fix="train the adapter on unquantised weights: --set sft.adapter=lora")
    except Failure as failure:
        print(failure.message, file=sys.stderr)
        raise
