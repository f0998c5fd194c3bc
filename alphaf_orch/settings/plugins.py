"""The plugins that axolotl brings: the keys that each adds to a recipe, known where `plugins` names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import SCHEMAS
from alphaf_orch.core.values import nearest

AXOLOTLS = "axolotl.integrations."
OURS = "alphaf_orch."
# Of our own plugin (programs/training/axolotl_args.py), which every recipe names; engines' templates set them.
_OUR_KEYS: dict[str, dict[str, Any]] = {"fp32_master_weights": {"types": ["boolean", "null"]}}


@cache
def record() -> dict[str, Any]:
    """Return what was recorded of the pinned axolotl, its plugins and transformers (tools/record_axolotl_keys.py)."""
    found: dict[str, Any] = json.loads((SCHEMAS / "axolotl.json").read_text(encoding="utf-8"))
    return found


def axolotls() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the keys of each plugin of the pinned axolotl, by the name that `plugins` takes."""
    found: dict[str, dict[str, dict[str, Any]]] = record()["plugins"]
    return found


def canonical(name: str) -> str | None:
    """Return axolotl's plugin that a name means, None for a plugin of somebody else.

    axolotl looks for `liger.LigerPlugin` below its own integrations too, and its module may be written out.
    """
    parts = name.removeprefix(AXOLOTLS).split(".")
    short = f"{AXOLOTLS}{parts[0]}.{parts[-1]}"
    return short if short in axolotls() else None


def spelling(name: str) -> str:
    """Return the pattern of the names by which `canonical` finds one of axolotl's plugins."""
    module, _, plugin = name.removeprefix(AXOLOTLS).partition(".")
    return rf"^({re.escape(AXOLOTLS)})?{re.escape(module)}\.(.*\.)?{re.escape(plugin)}$"


def about() -> dict[str, str]:
    """Return what axolotl says that its keys are for, by key, of those that it says it of."""
    found: dict[str, str] = record()["about"]
    return found


def foreign(names: Iterable[str]) -> list[str]:
    """Return the plugins whose keys are not known here: neither axolotl's nor ours."""
    return [name for name in names if not canonical(name) and not name.startswith(OURS)]


def keys_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the keys that our plugin and the named ones add, in the form of the record."""
    found = dict(_OUR_KEYS)
    for name in names:
        found |= axolotls().get(canonical(name) or "", {})
    return found


def named_in(value: Any) -> tuple[str, ...]:
    """Return the plugins that a recipe's `plugins` names."""
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list | tuple) else ()


def check_plugins(value: Any, where: str) -> None:
    """Raise ConfigError for a plugin that axolotl's own package would not have: it prints that and goes on without."""
    for name in named_in(value):
        if name.startswith(AXOLOTLS) and not canonical(name):
            known = sorted(axolotls())
            raise ConfigError(
                f"axolotl has no plugin {name}{nearest(name, known)}",
                where=where,
                fix=f"use one of: {', '.join(known)}",
                code="config.unknown_name",
            )


def refuse_unnamed(key: str, where: str) -> None:
    """Raise ConfigError for a key of one of axolotl's plugins, saying which to name."""
    for name, keys in axolotls().items():
        if key in keys:
            raise ConfigError(
                f"{key} is a key of axolotl's {name.rpartition('.')[2]}, which `plugins` does not name",
                where=where,
                fix=f"add plugins: [{name}] (--set plugins=[{name}])",
                code="config.plugin_not_named",
            )
