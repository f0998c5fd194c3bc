"""The keys that our plugin adds to axolotl's recipes."""

from __future__ import annotations

from pydantic import BaseModel, Field


class AlphafArgs(BaseModel):
    """What axolotl takes into its own schema when it reads the plugin's name."""

    fp32_master_weights: bool | None = Field(
        default=None, description="Train float32 weights, computed with in bf16; the finished model is bf16 again."
    )
