"""What a task's YAML says that lm-eval would stumble over once a model is loaded: metrics, templates, columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nodes

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import nearest
from alphaf_orch.evaluation.tasks.metrics import aggregations, metrics
from alphaf_orch.evaluation.tasks.rows import asked_files
from alphaf_orch.evaluation.tasks.task_yaml import Function, TaskFile
from alphaf_orch.programs.lines import LongLineError, bounded_lines

_TEMPLATES = ("description", "doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix")
_COLUMNS = ("doc_to_text", "doc_to_target", "doc_to_choice")  # may be a column's name alone
_READ = 1000  # ours: rows that are looked at for a column that the first one lacks


def mistakes(file: TaskFile) -> Iterator[ConfigError]:
    """Yield every metric that lm-eval has not, and every name in a template or a key that no row has a column of."""
    if "process_results" not in file.values:
        yield from _unknown_metrics(file)
    yield from _unknown_aggregations(file)
    yield from _bad_templates(file)
    if "process_docs" not in file.values and "custom_dataset" not in file.values:
        yield from _unknown_columns(file)


def _unknown_metrics(file: TaskFile) -> Iterator[ConfigError]:
    for number, metric in enumerate(file.values.get("metric_list") or ()):
        name = metric["metric"]
        if isinstance(name, Function) or metric.get("hf_evaluate") or name in metrics():
            continue
        yield ConfigError(
            f"lm-eval has no metric {name}{nearest(name, metrics())}",
            where=file.place("metric_list", str(number), "metric"),
            fix=f"use one of {', '.join(metrics())}; or compute it in a process_results (docs/own-benchmarks.md)",
            code="config.unknown_metric",
        )


def _unknown_aggregations(file: TaskFile) -> Iterator[ConfigError]:
    for number, metric in enumerate(file.values.get("metric_list") or ()):
        name = metric.get("aggregation", "mean")
        if isinstance(name, str) and not isinstance(name, Function) and name not in aggregations():
            yield ConfigError(
                f"lm-eval has no aggregation {name}{nearest(name, aggregations())}",
                where=file.place("metric_list", str(number), "aggregation"),
                fix=f"use one of {', '.join(aggregations())}, or a !function",
                code="config.unknown_aggregation",
            )


def _bad_templates(file: TaskFile) -> Iterator[ConfigError]:
    for key, text in _texts(file):
        try:
            jinja2.Environment().parse(text)
        except jinja2.TemplateError as error:
            yield ConfigError(
                f"{key} is no template: {error.message}",
                where=file.where(key),
                fix="write a column's name in double braces: {{question}}",
                code="config.bad_task_template",
            )


def _unknown_columns(file: TaskFile) -> Iterator[ConfigError]:
    wanted = [(key, name) for key, text in _texts(file) for name in sorted(_names(text))]
    files = asked_files(file.values)
    if not files:
        return
    alone = {key: str(file.values[key]) for key in _COLUMNS if _is_a_name(file.values.get(key))}
    there = _columns(files, {name for _, name in wanted} | set(alone.values()))
    for key, name in wanted:
        if name not in there:
            yield ConfigError(
                f"{key}: the rows have no column {name}{nearest(name, there)}",
                where=file.where(key),
                fix=f"use one of {', '.join(sorted(there))}",
                code="config.unknown_column",
            )
    for key, name in alone.items():
        if name not in there and nearest(name, there):
            yield ConfigError(
                f"{key} is the text {name} for every row, for the rows have no such column{nearest(name, there)}",
                where=file.where(key),
                fix=f"use one of {', '.join(sorted(there))}; a text that is meant as it is stands in a template",
                code="config.unknown_column",
            )


def _texts(file: TaskFile) -> Iterator[tuple[str, str]]:
    for key in _TEMPLATES:
        value = file.values.get(key)
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and not isinstance(text, Function) and re.search(r"\{[{%]", text):
                yield key, text


def _is_a_name(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Function) and value.isidentifier()


def _names(text: str) -> set[str]:
    """Return the names that a template cannot do without; one that it asks for (`is defined`) may lack."""
    try:
        tree = jinja2.Environment().parse(text)
    except jinja2.TemplateError:
        return set()  # told by _bad_templates
    tests = tree.find_all(jinja2.nodes.Test)
    asked = {test.node.name for test in tests if test.name == "defined" and isinstance(test.node, jinja2.nodes.Name)}
    return jinja2.meta.find_undeclared_variables(tree) - asked - jinja2.Environment().globals.keys()


def _columns(files: tuple[Path, ...], wanted: set[str]) -> set[str]:
    """Return the columns of the first rows, so many as it takes to find those that are wanted."""
    found: set[str] = set()
    for file in files:
        with file.open("rb") as lines:
            try:
                for number, line in enumerate(bounded_lines(lines)):
                    row = json.loads(line) if line.strip() else {}
                    found |= set(row) if isinstance(row, Mapping) else set()
                    if (found and wanted <= found) or number >= _READ:
                        break
            except (ValueError, RecursionError, LongLineError):
                continue  # told by who reads the rows
    return found
