"""One evaluation task as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Task:
    """One evaluation task: an lm-eval YAML, the suites it is in, and what its scores depend on."""

    name: str
    suites: tuple[str, ...]
    path: Path
    output_type: str
    metrics: tuple[str, ...]
    main_metric: str
    rows: int | None  # counted in local files; of a hub set what the YAML says, None where nothing is known
    dataset: str | None  # a hub id, None where the rows are local files
    title: Mapping[str, str]  # ko, en
    config: Mapping[str, Any]
    content: str  # SHA-256 of the YAMLs, the python beside them, the scoring code and the rows (hub: the commit)
    suite_titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # ko, en; of the suites that have one
    cluster: tuple[str, ...] = ()  # the columns that are equal in rows which are not independent; empty: none share any
