"""The names that a shell's completion offers: of runs, models, suites, judges; read by their files' names alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir, template_folders

# By the name of an option or argument, what kind of names it takes.
KINDS = {
    "run": "run", "runs": "run", "first": "run", "second": "run",
    "model": "model", "models": "models", "partners": "model", "base": "model",
    "data": "data", "dpo_data": "data",
    "suites": "suite", "elsewhere": "suite", "tasks": "task", "task": "task",
    "stages": "stages", "a": "stage", "b": "stage", "stage": "log",
    "judge_name": "judge", "prompts": "prompts", "on": "on", "what": "what",
}  # fmt: skip
CHAIN = ("base", "sft", "dpo", "merged")
_SCHEDULERS = ("local", "slurm", "skypilot", "kubernetes")
# Of a task's YAML what it is called and belongs to; a list of tags stands in brackets or in lines of its own.
_TASK = re.compile(r"(?m)^task:[ \t]+([\w.+-]+)[ \t]*$")
_SUITES = re.compile(r"(?m)^(?:tag|group):[ \t]*(\[.*\]|[\w.+-]+|(?=\n))((?:\n[ \t]*- .*)*)")
_WORD = re.compile(r"[\w.+-]*\w")


def offered(kind: str, said: Mapping[str, Any], incomplete: str) -> list[str]:
    """Return the names of a kind that a word may become, sorted; `said` are the other words of the command."""
    before, comma, last = incomplete.rpartition(",") if kind in ("stages", "models") else ("", "", incomplete)
    names = _FINDERS[kind](said, _composed(last))
    return sorted({before + comma + name for name in map(_composed, names) if name.startswith(_composed(last))})


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _runs(_: Mapping[str, Any], incomplete: str) -> Iterator[str]:
    """Yield runs and experiments, and the arms of an experiment once a part of its name is there."""
    for folder in _folders(runs_dir()):
        experiment = (folder / EXPERIMENT_FILE).is_file()
        if experiment or _is_run(folder):
            yield folder.name
        if experiment and incomplete and _composed(folder.name).startswith(incomplete.partition("/")[0]):
            yield from (f"{folder.name}/{arm.name}" for arm in _folders(folder) if _is_run(arm))


def _is_run(folder: Path) -> bool:
    paths = RunPaths(folder)
    return paths.manifest.is_file() or paths.config.is_file() or bool(paths.all_jobs())


def _folders(parent: Path) -> list[Path]:
    return [each for each in parent.iterdir() if each.is_dir()] if parent.is_dir() else []


def _stems(folder: str, ending: str = "yaml") -> Callable[[Mapping[str, Any], str], Iterator[str]]:
    """Return what yields the names of files in a folder of the templates."""

    def found(*_: Any) -> Iterator[str]:
        yield from (path.stem for place in template_folders() for path in (place / folder).glob(f"*.{ending}"))

    return found


def _models(said: Mapping[str, Any], incomplete: str) -> Iterator[str]:
    yield from (name for name in _stems("models")(said, incomplete) if name != "generic")


def _data(*_: Any) -> Iterator[str]:
    yield from ("sample", "sample-citation")


def _tasks(*_: Any) -> Iterator[str]:
    for text in _task_files():
        yield from _TASK.findall(text)


def _suites(*_: Any) -> Iterator[str]:
    for text in _task_files():
        for first, rest in _SUITES.findall(text):
            yield from _WORD.findall(first + rest)


def _task_files() -> Iterator[str]:
    for place in template_folders():
        for path in (place / "eval").rglob("*.yaml"):
            yield path.read_text(encoding="utf-8", errors="replace")


def _logs(said: Mapping[str, Any], _: str) -> Iterable[str]:
    """Return the logs of the run that is named before; where none is, the models that a merge may begin with."""
    run = said.get("run")
    return [log.stem for log in RunPaths(runs_dir() / str(run)).all_logs()] if run else []


def _on(*_: Any) -> Iterator[str]:
    """Yield where a run may go: the schedulers, and each with the profiles of the templates that are for it."""
    yield from _SCHEDULERS
    for place in template_folders():
        for path in (place / "clusters").glob("*.yaml"):
            found = re.search(r"(?m)^scheduler:\s*(\w+)", path.read_text(encoding="utf-8", errors="replace"))
            if found and path.stem != found[1]:
                yield f"{found[1]}:{path.stem}"


_FINDERS: Mapping[str, Callable[[Mapping[str, Any], str], Iterable[str]]] = {
    "run": _runs,
    "model": _models,
    "models": _models,
    "data": _data,
    "suite": _suites,
    "task": _tasks,
    "stages": lambda *_: CHAIN,
    "stage": lambda *_: CHAIN,
    "log": _logs,
    "judge": _stems("judge"),
    "prompts": _stems("prompts", "jsonl"),
    "on": _on,
    "what": lambda *_: ("neftune", "adapter"),
}
