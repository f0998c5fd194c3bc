"""How several GPUs train one model together: which engine, what its template adds to a recipe, which files it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import find_template
from alphaf_orch.core.render import Rendered, render
from alphaf_orch.settings.keys import ENGINE_KEYS, check_key

# What an engine's template may hold: keys of axolotl for any recipe, for one adapter, with engine_offload; DeepSpeed's
# JSON, and what engine_offload changes in it.
_SECTIONS = ("recipe", "qlora", "lora", "full", "offload", "deepspeed", "deepspeed_offload")
# What the engines set in a recipe. In a fingerprint the engine stands for them: the sizes follow the number of GPUs, and
# `deepspeed` is a place.
RENDERED_KEYS = (
    "fsdp_version",
    "fsdp_config",
    "dp_shard_size",
    "dp_replicate_size",
    "deepspeed",
    "fp32_master_weights",
)

Layers = list[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Engine:
    """The engine of a training, whether it puts to the CPU what it can, and why it is this one."""

    name: str = "ddp"
    offload: bool = False
    reason: str = ""

    @property
    def remembered(self) -> dict[str, Any]:
        """The recipe keys by which the run goes on with it on any machine; DDP is what a run is without."""
        return {"engine": self.name} if self.name != "ddp" else {}

    def spec(self, layers: Layers, recipe: Mapping[str, Any], files: Mapping[Path, Rendered]) -> dict[str, Any]:
        """Return what of it a result depends on, and a checkpoint can be read by: nothing for DDP."""
        if self.name == "ddp":
            return {}
        del layers
        kept = {key: recipe[key] for key in ("fsdp_config", "fp32_master_weights") if key in recipe}
        kept |= {"deepspeed": file.values for file in files.values()}
        return {"engine": self.name, "engine_values": kept}


def said(layers: Layers) -> Engine | None:
    """Return the engine that the last of the layers names, None where none does.

    Raises ConfigError for a value that no engine has, and for engine_offload without an engine.
    """
    found: dict[str, tuple[Any, str]] = {}
    for name, layer in layers:
        for key in ENGINE_KEYS.keys() & layer.keys():
            check_key(key, layer[key], ENGINE_KEYS, f"{name}, key sft.{key}")
            found[key] = (layer[key], name)
    engine, who = found.get("engine", (None, ""))
    offload = bool(found.get("engine_offload", (False, ""))[0])
    if engine is None:
        return Engine("", offload=offload) if offload else None
    return Engine(engine, offload=offload, reason="asked for" if who == "yours" else f"asked for by the {who}")
