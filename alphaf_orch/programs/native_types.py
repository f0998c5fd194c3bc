"""The architectures that we have classes for, by name: all that the orchestrator knows of them."""

from __future__ import annotations

# config.json's model_type; a model of such a type needs no remote code, whatever its auto_map says.
NATIVE_TYPES = frozenset({"orion"})
