"""What tasks are called: the `title_ko` and `title_en` of their YAMLs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from alphaf_orch.core.paths import template_folders
from alphaf_orch.core.wording import LANGUAGES, Label, Text
from alphaf_orch.evaluation.tasks.task_yaml import read_task_file


def title_of(about: Mapping[str, Any], key: str = "title") -> dict[str, str]:
    """Return the titles by language that a task's metadata has, of itself or under another key of its suite."""
    return {language: str(about[f"{key}_{language}"]) for language in LANGUAGES if about.get(f"{key}_{language}")}


def titled(name: str, title: Mapping[str, str]) -> Text:
    """Return what something with these titles is called; one language stands for both, without any its own name."""
    return Label(title.get("ko") or title["en"], title.get("en") or title["ko"]) if title else name


def task_title(task: str, stored: Mapping[str, str]) -> Text:
    """Return what a task is called: by the title stored with its scores, else the shipped one, else by its own name."""
    return titled(task, stored or shipped_titles().get(task, {}))


@cache
def shipped_titles() -> Mapping[str, Mapping[str, str]]:
    """Return the titles of the shipped tasks, those of lm-eval's own that a shipped suite names among them."""
    found: dict[str, Mapping[str, str]] = {}
    for path in sorted((template_folders()[-1] / "eval").rglob("*.yaml")):
        values = read_task_file(path).values
        about = values.get("metadata") or {}
        if isinstance(values.get("task"), str):
            found[values["task"]] = title_of(about)
        found |= {name: title_of(each) for name, each in about.get("tasks", {}).items()}
    return found
