"""Which rows of a task are not independent: the columns that its YAML names under `cluster`, and each row's value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import nearest
from alphaf_orch.evaluation.tasks.rows import asked_files
from alphaf_orch.evaluation.tasks.task_yaml import TaskFile


def cluster_columns(file: TaskFile, about: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that `cluster` names; raise ConfigError for what is no name, or no column of local rows."""
    said = about.get("cluster")
    names = [] if said is None else [said] if isinstance(said, str) else said
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(
            f"cluster is {said!r}, not the name of a column",
            where=file.where("metadata"),
            fix="write `cluster: COLUMN`, or a list of columns; rows with equal values there count as one cluster",
            code="config.wrong_type",
        )
    columns = _columns(file.values)
    for name in names:
        if columns and name not in columns:
            raise ConfigError(
                f"cluster: the rows have no column {name}{nearest(name, columns)}",
                where=file.where("metadata"),
                fix=f"use one of {', '.join(columns)}",
                code="config.unknown_column",
            )
    return tuple(names)


def cluster_of(row: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    """Return what a row shares with the others of its cluster; None where it is one of its own.

    The order of a list makes no other cluster: the same documents are the same documents.
    """
    values = [row.get(column) for column in columns]
    if not columns or any(value is None or value == "" for value in values):
        return None
    alike = [sorted(map(_text, value)) if isinstance(value, list) else value for value in values]
    return hashlib.sha256(_text(alike).encode()).hexdigest()[:16]


def local_clusters(config: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """Return the cluster of each row of local JSON Lines files by its `id`; nothing of rows that have none."""
    found = {}
    for file in asked_files(config) if columns and "process_docs" not in config else ():
        with file.open(encoding="utf-8") as lines:
            for row in (json.loads(line) for line in lines if line.strip()):
                cluster = cluster_of(row, columns)
                if cluster is not None and row.get("id") is not None:
                    found[str(row["id"])] = cluster
    return found


def _columns(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of the first local row; none where they are not known before the task's python made them."""
    files = asked_files(config)
    if not files or "process_docs" in config:
        return ()
    with files[0].open(encoding="utf-8") as lines:
        try:
            first = json.loads(next((line for line in lines if line.strip()), "{}"))
        except (ValueError, RecursionError):
            return ()  # told by who reads the rows
    return tuple(first) if isinstance(first, dict) else ()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
