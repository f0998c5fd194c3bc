"""The metrics and the aggregations that the pinned lm-eval has, as recorded from it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from alphaf_orch.core.paths import SCHEMAS


@cache
def record() -> dict[str, Any]:
    """Return what was recorded of the pinned lm-eval: the keys of its YAMLs, its metrics and aggregations."""
    found: dict[str, Any] = json.loads((SCHEMAS / "lm_eval.json").read_text(encoding="utf-8"))
    return found


def metrics() -> tuple[str, ...]:
    """Return the metrics that lm-eval computes itself, without a `process_results` of the task's."""
    return tuple(record()["metrics"])


def aggregations() -> tuple[str, ...]:
    """Return the names of what makes one figure of those of all rows."""
    return tuple(record()["aggregations"])
