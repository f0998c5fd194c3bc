"""How evaluations are shown to a person: the tasks there are, the plan, the scores of all stages side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from alphaf_orch.core.command import printable
from alphaf_orch.core.shown import Table, show_line
from alphaf_orch.core.spoken import language
from alphaf_orch.core.wording import in_language
from alphaf_orch.evaluation.request import Evaluation, Results, Work, known_results
from alphaf_orch.evaluation.tasks.titles import task_title, titled
from alphaf_orch.report.score_blocks import error_shown
from alphaf_orch.scores.results import TaskResult


def print_tasks(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the tasks as a table."""
    table = Table("suite", "task", "rows", "main score", "form of the answer", "data set")
    for row in rows:
        data = "here" if row["here"] else f"not here: {row['data']}"
        kind = (
            "a choice"
            if row["type"] == "multiple_choice"
            else "text"
            if row["type"] == "generate_until"
            else row["type"]
        )
        count = "" if row["rows"] is None else f"{row['rows']:,}"
        called = _called(row["task"], row["title"])
        name = row["task"] if called == row["task"] else f"{row['task']}\n  {called}"
        table.add_row(", ".join(row["suites"]), name, count, row["main_metric"], kind, data)
    console.print(table)
    titles = {suite: title for row in rows for suite, title in row["suite_titles"].items()}
    for suite, title in titles.items():
        show_line(console, f"{suite}: {in_language(titled(suite, title), language())}")


def print_plan(console: Console, evaluation: Evaluation, work: Sequence[Work]) -> None:
    """Print every file that would be written and every command that would be run."""
    known = known_results(evaluation)
    for model in evaluation.models:
        kept = ", ".join(_called(name, result.title) for name, result in known[model.stage].items())
        if kept:
            show_line(console, f"{model.stage}: {kept}: cached")
    for item in work:
        for path, file in item.stage.files.items():
            console.rule(str(path), align="left", style="dim")
            console.out(file.text, highlight=False)
        console.out(f"$ {printable(item.stage.argv)}\n", highlight=False)


def eval_plan_json(run: str, evaluation: Evaluation, work: Sequence[Work]) -> dict[str, Any]:
    """Return what print_plan prints as JSON values."""
    known = known_results(evaluation)
    return {
        "run": run,
        "cached": {model.stage: list(known[model.stage]) for model in evaluation.models},
        "work": [
            {
                "name": item.stage.name,
                "asks": [{"stage": cell.model.stage, "task": cell.task.name} for cell in item.cells],
                "argv": list(item.stage.argv),
                "files": {str(path): file.text for path, file in item.stage.files.items()},
            }
            for item in work
        ],
    }


def print_results(console: Console, results: Results) -> None:
    """Print a table of task and score by stage, and below it every warning once."""
    table = Table("task", "score", *results, title=None)
    tasks = list(dict.fromkeys(task for by_task in results.values() for task in by_task))
    for task in tasks:
        of_task = {stage: by_task[task] for stage, by_task in results.items() if task in by_task}
        names = list(dict.fromkeys(name for result in of_task.values() for name in result.metrics))
        for number, name in enumerate(names):
            cells = [_cell(of_task[stage], name) if stage in of_task else "" for stage in results]
            # What is better lower is said, or a fall would read as a loss.
            lower = any(r.metrics[name].higher_is_better is False for r in of_task.values() if name in r.metrics)
            called = _called(task, next((r.title for r in of_task.values() if r.title), {}))
            table.add_row(called if number == 0 else "", f"{name} (lower is better)" if lower else name, *cells)
        table.add_section()
    console.print(table)
    for warning in dict.fromkeys(w for by_task in results.values() for r in by_task.values() for w in r.warnings):
        show_line(console, f"note: {warning}")


def _called(task: str, title: Mapping[str, str]) -> str:
    """Return what a task is called in the reader's language."""
    return in_language(task_title(task, title), language())


def results_json(run: str, results: Results) -> dict[str, Any]:
    """Return the results as JSON values, by stage and task."""
    return {
        "run": run,
        "results": {stage: {task: asdict(r) for task, r in by_task.items()} for stage, by_task in results.items()},
    }


def _cell(result: TaskResult, name: str) -> str:
    metric = result.metrics.get(name)
    if metric is None:
        return ""
    value = f"{metric.value:.3f}" if abs(metric.value) < 100 else f"{metric.value:.1f}"
    return f"{value}{error_shown(metric, ' ±', result.units)} (n={metric.n})"
