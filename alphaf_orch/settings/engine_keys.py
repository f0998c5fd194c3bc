"""Recipe keys of ours: they choose what of templates/engines/ is laid over the recipe, and are not rendered into it."""

from __future__ import annotations

from typing import Any

ENGINES = ("ddp", "fsdp2", "zero2", "zero3", "hsdp")
ENGINE_KEYS: dict[str, dict[str, Any]] = {
    "engine": {"types": ["string", "null"], "enum": list(ENGINES)},
    "engine_offload": {"types": ["boolean", "null"]},
}
ENGINE_ABOUT = {
    "engine": "How several GPUs train one model; by default the estimate chooses.",
    "engine_offload": "Whether the engine uses the machine's memory.",
}
