"""The evaluation tasks there are and the suites they make up: ours, the user's, and those lm-eval ships."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import PROGRAM_ENV, capture, child_env, program
from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.core.paths import PROGRAMS
from alphaf_orch.core.several import raise_all
from alphaf_orch.core.values import nearest
from alphaf_orch.evaluation.tasks.clusters import cluster_columns
from alphaf_orch.evaluation.tasks.rows import count_rows, data_identity, hub_id, local_files, render_tasks, require_data
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.evaluation.tasks.task_yaml import (
    NAME,
    TaskFile,
    check_task,
    content_digest,
    legal_keys,
    read_task_file,
)
from alphaf_orch.evaluation.tasks.titles import title_of
from alphaf_orch.evaluation.tasks.written import mistakes

__all__ = ["Task", "find_tasks", "render_tasks", "require_data", "select_tasks"]

# lm-eval's own, where a task lists no metric (DEFAULT_METRIC_REGISTRY).
_DEFAULT_METRICS = {
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match",),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}


def find_tasks(folders: tuple[Path, ...], python: str, env: Mapping[str, str] | None = None) -> dict[str, Task]:
    """Return every task under `eval/` of the template folders by name; of two with one name the user's counts.

    A suite is an lm-eval `tag`, or a `group` YAML, whose tasks may also be ones that the lm-eval of `python`
    ships. Raises ConfigError, with file and line, for a YAML that could not be run.
    """
    env = os.environ if env is None else env
    tasks: dict[str, TaskFile] = {}
    groups: dict[str, TaskFile] = {}
    for folder in folders:
        for kind, found in zip((tasks, groups), _read_folder(folder / "eval"), strict=True):
            for name, file in found.items():
                kind.setdefault(name, file)
    members = {group: _members(file) for group, file in groups.items()}
    shipped = _installed(python, {name for names in members.values() for name in names} - tasks.keys(), groups)
    titles = _suite_titles(tasks, groups)
    made = {}
    for name, file in {**tasks, **shipped}.items():
        tags = _as_list(file.values.get("tag")) if name in tasks else []
        suites = dict.fromkeys([*tags, *(group for group, names in members.items() if name in names)])
        about = {} if name in tasks else _about(groups, members, name)
        made[name] = replace(
            _task(name, file, tuple(suites), about, env, ours=name in tasks),
            suite_titles={suite: titles[suite] for suite in suites if titles.get(suite)},
        )
    return made


def select_tasks(found: Mapping[str, Task], suites: Sequence[str], names: Sequence[str]) -> tuple[Task, ...]:
    """Return the tasks of the suites and the named ones, each once; raise ConfigError for an unknown name."""
    known = sorted({suite for task in found.values() for suite in task.suites})
    for suite in suites:
        if suite not in known:
            raise ConfigError(
                f"there is no suite {suite}{nearest(suite, known)}",
                where="--suite",
                fix=f"use one of {', '.join(known)}; a task's `tag` makes a new one (docs/own-benchmarks.md)",
                code="config.unknown_name",
            )
    for name in names:
        if name not in found:
            raise ConfigError(
                f"there is no task {name}{nearest(name, found)}",
                where="--task",
                fix="`alphaf eval --list` shows all; docs/own-benchmarks.md says how to add one",
                code="config.unknown_name",
            )
    return tuple(t for t in found.values() if t.name in names or any(suite in suites for suite in t.suites))


def _read_folder(folder: Path) -> tuple[dict[str, TaskFile], dict[str, TaskFile]]:
    """Return the tasks and the groups of one folder; files that others include are neither."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml") and path.is_file())
    files = [read_task_file(path) for path in paths]
    included = {path for file in files for path in file.read[1:]}
    tasks: dict[str, TaskFile] = {}
    groups: dict[str, TaskFile] = {}
    for file in files:
        if "task" not in file.values:
            if file.path in included or file.path.name.startswith("_"):
                continue
            raise ConfigError(
                "the file names no task", where=file.where(), fix="add a line `task: NAME`", code="config.key_missing"
            )
        is_group = isinstance(file.values["task"], list)
        name = file.values.get("group" if is_group else "task")
        if not isinstance(name, str) or not re.fullmatch(NAME, name):
            raise ConfigError(
                f"{name!r} is not the name of a {'suite' if is_group else 'task'}",
                where=file.where("group" if is_group else "task"),
                fix="use letters, digits, '_', '-', '.' and '+' only",
                code="config.not_a_name",
            )
        place = groups if is_group else tasks
        if name in place:
            raise ConfigError(
                f"{name} is defined twice",
                where=file.where("task"),
                fix=f"see {place[name].where('task')}",
                code="config.given_twice",
            )
        place[name] = file
        if not is_group:
            check_task(file)
            raise_all(list(mistakes(file)))
    return tasks, groups


def _members(file: TaskFile) -> tuple[str, ...]:
    for key in file.values:
        if key not in legal_keys()["group"]:
            raise ConfigError(
                f"{key}{nearest(key, legal_keys()['group']) or ': no key of a group'}",
                where=file.where(key),
                fix="settings stand in each task's own YAML",
                code="config.unknown_key",
            )
    names = file.values["task"]
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(
                f"{name!r} is not the name of a task",
                where=file.where("task"),
                fix="list names; one YAML makes a task",
                code="config.not_a_name",
            )
    return tuple(names)


def _installed(python: str, names: Iterable[str], groups: Mapping[str, TaskFile]) -> dict[str, TaskFile]:
    """Return the tasks that lm-eval itself ships; raise ConfigError for a name that it has not."""
    wanted = sorted(names)
    if not wanted:
        return {}
    paths = _index(python, tuple(wanted))
    for name in wanted:
        if name not in paths:
            group = next(file for file in groups.values() if name in file.values["task"])
            raise ConfigError(
                f"neither the templates nor the installed lm-eval has a task {name}",
                where=group.where("task"),
                fix="correct the name; `lm-eval ls tasks` shows lm-eval's own",
                code="config.unknown_name",
            )
    return {name: read_task_file(Path(paths[name])) for name in wanted}


@cache
def _index(python: str, names: tuple[str, ...]) -> Mapping[str, str]:
    code, text = capture(program(python, "evaluation.task_index", *names), env=child_env(PROGRAM_ENV, online=False))
    if code:
        raise ToolError(
            "lm-eval is not installed",
            where=python,
            fix="make setup, or name its python under `tools`",
            code="tool.not_installed",
        )
    paths: dict[str, str] = json.loads(text)
    return paths


def _suite_titles(tasks: Mapping[str, TaskFile], groups: Mapping[str, TaskFile]) -> dict[str, Mapping[str, str]]:
    """Return what suites are called: a group by its own metadata, a tag by that of any of its tasks."""
    found: dict[str, Mapping[str, str]] = {}
    for file in tasks.values():
        about = file.values.get("metadata") or {}
        for tag in _as_list(file.values.get("tag")):
            found[tag] = found.get(tag) or title_of(about, "suite_title")
    return found | {group: title_of(file.values.get("metadata") or {}) for group, file in groups.items()}


def _about(groups: Mapping[str, TaskFile], members: Mapping[str, Sequence[str]], name: str) -> Mapping[str, Any]:
    """Return what a group's metadata says of a task whose own YAML is lm-eval's: rows, titles."""
    for group, file in groups.items():
        if name in members[group]:
            about = (file.values.get("metadata") or {}).get("tasks", {}).get(name)
            if about:
                return dict(about)
    return {}


def _task(
    name: str, file: TaskFile, suites: tuple[str, ...], about: Mapping[str, Any], env: Mapping[str, str], *, ours: bool
) -> Task:
    values = file.values
    kind = str(values.get("output_type", "generate_until"))
    listed = [str(metric["metric"]).rpartition(".")[2] for metric in values.get("metric_list") or []]
    metrics = tuple(dict.fromkeys(listed)) or _DEFAULT_METRICS[kind]
    about = {**(values.get("metadata") or {}), **about}
    main = about.get("main_metric", metrics[0])
    if main not in metrics:
        raise ConfigError(
            f"main_metric is {main}{nearest(str(main), metrics)}",
            where=file.where("metadata"),
            fix=f"use one of its metrics: {', '.join(metrics)}",
            code="config.unknown_name",
        )
    python = [path for folder in {path.parent for path in file.read} for path in folder.glob("*.py")]
    # A user's python may score with our functions too; lm-eval's own cannot.
    scoring = sorted((PROGRAMS / "scoring").glob("*.py")) if ours else ()
    data = local_files(values)
    there = [path for path in data if path.is_file()]
    return Task(
        name=name,
        suites=suites,
        path=file.path,
        output_type=kind,
        metrics=metrics,
        main_metric=main,
        rows=count_rows(values) if data else about.get("rows"),
        dataset=hub_id(values),
        title=title_of(about),
        config=values,
        content=content_digest([*file.read, *python, *scoring, *there], data_identity(values, env)),
        cluster=cluster_columns(file, about),
    )


def _as_list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else [str(item) for item in value]
