"""Every task that a run can be evaluated on, as it is shown: its suites, size and scores, and whether it is here."""

from __future__ import annotations

import sys
from typing import Any

from alphaf_orch.core.command import child_env
from alphaf_orch.core.errors import DataError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.evaluation.tasks.suites import find_tasks, require_data
from alphaf_orch.planning.base import tool_python
from alphaf_orch.settings.config import RunConfig


def list_tasks(config: RunConfig | None) -> list[dict[str, Any]]:
    """Return the tasks that a run with these settings has, by suite; without a run, those of this installation."""
    env = child_env({}, online=False)
    python = tool_python(config, "axolotl") if config else sys.executable
    tasks = find_tasks(template_folders(config.templates if config else None), python, env)
    rows = []
    for task in sorted(tasks.values(), key=lambda task: (task.suites, task.name)):
        try:
            require_data((task,), env)
            here = True
        except DataError:
            here = False
        rows.append(
            {
                "task": task.name,
                "suites": list(task.suites),
                "suite_titles": {suite: dict(title) for suite, title in task.suite_titles.items()},
                "type": task.output_type,
                "rows": task.rows,
                "main_metric": task.main_metric,
                "metrics": list(task.metrics),
                "data": task.dataset or str(task.path.parent),
                "here": here,
                "title": dict(task.title),
                "cluster": list(task.cluster),
            }
        )
    return rows
