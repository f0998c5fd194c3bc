"""Recipe keys that hold texts in a list or a mapping: axolotl's schema says no more of them than that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphaf_orch.core.errors import ConfigError

_DEEPEST = 8  # ours: the deepest mapping of a recipe, DeepSpeed's, has four
TEXTS = (
    "eot_tokens", "tokens", "lora_target_modules", "lora_modules_to_save", "lora_target_parameters", "plugins",
    "unfrozen_parameters",
)  # fmt: skip
MAPS_OF_TEXTS = ("special_tokens",)


def check_texts(key: str, value: Any, where: str) -> None:
    """Raise ConfigError for what is no text in a list or a mapping of texts: `eot_tokens: [5]`."""
    inner = list(value) if key in TEXTS and isinstance(value, list | tuple) else []
    if key in MAPS_OF_TEXTS and isinstance(value, Mapping):
        inner = [each for each in value.values() if each is not None]
    for each in inner:
        if not isinstance(each, str):
            what = f"{key} has {str(each)[:60]}, which is no text"
            raise ConfigError(
                what, where=where, fix="write texts, in quotes where they look like numbers", code="config.wrong_type"
            )


def check_depth(below: Sequence[str], where: str) -> None:
    """Raise ConfigError for a dotted key with more parts `below` its first than any mapping of a recipe has."""
    if len(below) > _DEEPEST:
        raise ConfigError(
            f"a key of {len(below) + 1:,} parts",
            where=where,
            fix="write for example fsdp_config.a=b",
            code="config.too_deep",
        )
