"""One lm-eval YAML as it is meant: includes merged, file names made absolute, every problem with its line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.names import expanded
from alphaf_orch.core.values import nearest
from alphaf_orch.core.yaml_files import LOADER, read_document
from alphaf_orch.evaluation.tasks.metrics import record

# What `datasets` builds rows from when no hub repository is meant; their file names are relative to the YAML here.
BUILDERS = ("json", "csv", "parquet", "arrow", "text", "xml")
NEEDED = ("doc_to_text", "doc_to_target")  # beside rows and a split
# Results are stored under the task's name, and lm-eval splits its list of tasks at commas.
NAME = r"\w[\w.+-]{0,119}"
OUTPUT_TYPES = ("generate_until", "multiple_choice", "loglikelihood", "loglikelihood_rolling")


# Keys that people look for among lm-eval's own.
_ELSEWHERE = {
    "group": ": use tag",
    **dict.fromkeys(("cluster", "title_ko", "title_en", "main_metric", "rows"), ": it stands under metadata"),
}
# What only statistics and reports read: no answer and no score depends on it.
_NOT_ASKED = re.compile(rb"^[ \t]+(?:cluster|suite_title_\w\w):.*\n?", re.MULTILINE)


class Function(str):
    """A `!function module.name`, as text: nothing of a task is imported to list it."""


class _Loader(LOADER):
    """Reads `!function` without importing anything."""


_Loader.add_constructor("!function", lambda loader, node: Function(loader.construct_scalar(node)))


@dataclass(frozen=True)
class TaskFile:
    """A YAML with what it includes: merged values, the line of each of its own keys, every YAML that was read."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]
    read: tuple[Path, ...]
    inner: Mapping[tuple[str, ...], int] = field(default_factory=dict)  # of what stands in its own keys

    def where(self, key: str | None = None) -> str:
        """Return the file and, for a key that stands in it, the line."""
        line = self.lines.get(key or "")
        return f"{self.path} line {line}" if line else str(self.path)

    def place(self, *keys: str) -> str:
        """Return the file and, where the key stands in it, the line, or the nearest one above it."""
        line = next((self.inner[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.inner), None)
        return f"{self.path} line {line}" if line else str(self.path)


@cache
def legal_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys that the pinned lm-eval takes, as recorded from it: {"task": ..., "group": ...}."""
    return {kind: tuple(keys) for kind, keys in record()["keys"].items()}


def read_task_file(path: Path, outer: tuple[Path, ...] = ()) -> TaskFile:
    """Return the YAML merged as lm-eval merges it; raise ConfigError with file and line where that fails."""
    if path in outer:
        raise ConfigError(
            "the file includes itself",
            where=f"{outer[-1]}, key include",
            fix="remove that include",
            code="config.includes_itself",
        )
    own, lines, inner = _parse(path)
    _check_kinds(own, TaskFile(path, own, lines, (path,)))
    own = _with_absolute_data(own, path.parent)
    merged: dict[str, Any] = {}
    read = [path]
    includes = own.pop("include", [])
    # The first of several wins over those behind it, the file itself over all.
    for name in reversed([includes] if isinstance(includes, str) else includes):
        file = Path(name) if Path(name).is_file() else path.parent / str(name)
        if not file.is_file():
            raise ConfigError(
                f"there is no file {name} to include",
                where=f"{path} line {lines['include']}",
                fix="give a file beside this one, or an absolute path",
                code="config.file_missing",
            )
        included = read_task_file(file, (*outer, path))
        merged.update(included.values)
        read += included.read
    return TaskFile(path, {**merged, **own}, lines, tuple(read), inner)


def _check_kinds(values: Mapping[str, Any], file: TaskFile) -> None:
    """Raise ConfigError for a key that is read here and is of another kind than lm-eval's own."""
    kwargs = values.get("dataset_kwargs")
    files = kwargs.get("data_files", "") if isinstance(kwargs, Mapping) else ""
    about = values.get("metadata")
    listed = about.get("tasks") if isinstance(about, Mapping) else None
    by_name = listed.values() if isinstance(listed, Mapping) else () if listed is None else (listed,)
    metrics = values.get("metric_list")
    good = {
        "include": _texts(values.get("include", "")),
        "dataset_path": isinstance(values.get("dataset_path", ""), str | None),
        "dataset_kwargs": (kwargs is None or isinstance(kwargs, Mapping))
        and all(map(_texts, files.values() if isinstance(files, Mapping) else (files,))),
        "metadata": (about is None or isinstance(about, Mapping)) and all(isinstance(one, Mapping) for one in by_name),
        "metric_list": not isinstance(metrics, list)
        or all(isinstance(one.get("metric", ""), str) for one in metrics if isinstance(one, Mapping)),
    }
    for key, fits in good.items():
        if not fits:
            raise ConfigError(
                f"{key} is {_KINDS[key]}",
                where=file.where(key),
                fix="see docs/own-benchmarks.md",
                code="config.wrong_type",
            )


_KINDS = {
    "include": "neither a file's name nor a list of names",
    "dataset_path": "no name of a data set, of a folder or of a format",
    "dataset_kwargs": "no mapping of settings, or its data_files are no names of files",
    "metadata": "no mapping, or one of its tasks has none",
    "metric_list": "no list of `- metric: NAME`",
}


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _parse(path: Path) -> tuple[dict[str, Any], dict[str, int], dict[tuple[str, ...], int]]:
    example = "write lm-eval's keys: `task: NAME`, `dataset_path: ...`"
    document = read_document(path, loader=_Loader, example=example)
    own = {keys[0]: line for keys, line in document.lines.items() if len(keys) == 1}
    return document.values, own, document.lines


def _with_absolute_data(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the values with local data named from the YAML's own folder; lm-eval would take the current one."""
    found = dict(values)
    kwargs = values.get("dataset_kwargs")
    path = values.get("dataset_path", "json")
    if isinstance(kwargs, Mapping) and "data_files" in kwargs and isinstance(path, str) and path in BUILDERS:
        found["dataset_kwargs"] = {**kwargs, "data_files": _absolute(kwargs["data_files"], folder)}
    if (
        isinstance(path, str)
        and path not in BUILDERS
        and (path.startswith((".", "/", "~")) or (folder / path).is_dir())
    ):
        found["dataset_path"] = str(folder / expanded(path))
    return found


def _absolute(names: Any, folder: Path) -> Any:
    if isinstance(names, Mapping):
        return {split: _absolute(name, folder) for split, name in names.items()}
    if isinstance(names, list):
        return [_absolute(name, folder) for name in names]
    return str(folder / expanded(str(names)))


def check_task(file: TaskFile) -> None:
    """Raise ConfigError for what lm-eval would refuse, or stumble over, only after it loaded the model."""
    refuse_credentials(file.values, str(file.path))
    if "class" in file.values:
        raise ConfigError(
            "a task written as a python class",
            where=file.where("class"),
            fix="write it as a YAML with !function keys",
            code="config.not_supported",
        )
    for key in file.values:
        if key not in legal_keys()["task"]:
            hint = _ELSEWHERE.get(key) or nearest(key, legal_keys()["task"]) or ": lm-eval has no such key"
            raise ConfigError(
                f"{key}{hint}",
                where=file.where(key),
                fix="use lm-eval's keys; see docs/own-benchmarks.md",
                code="config.unknown_key",
            )
    kind = file.values.get("output_type", "generate_until")
    if kind not in OUTPUT_TYPES:
        hint = nearest(str(kind), OUTPUT_TYPES)
        raise ConfigError(
            f"output_type is {kind!r}{hint}",
            where=file.where("output_type"),
            fix=f"use one of {', '.join(OUTPUT_TYPES)}",
            code="config.unknown_value",
        )
    needed = ["dataset_path"] if "custom_dataset" not in file.values else []
    for key in (*needed, *NEEDED):
        if key not in file.values:
            raise ConfigError(
                f"the task has no {key}",
                where=file.where("task"),
                fix=f"add a line `{key}: ...`",
                code="config.key_missing",
            )
    if not any(file.values.get(key) for key in ("test_split", "validation_split")):
        raise ConfigError(
            "the task has no test_split",
            where=file.where("task"),
            fix="add a line `test_split: test`",
            code="config.key_missing",
        )
    if kind == "multiple_choice" and "doc_to_choice" not in file.values:
        raise ConfigError(
            "the task has no doc_to_choice",
            where=file.where("output_type"),
            fix="list the options in it",
            code="config.key_missing",
        )
    metrics = file.values.get("metric_list")
    if metrics is not None and not (
        isinstance(metrics, list) and metrics and all(isinstance(m, Mapping) and "metric" in m for m in metrics)
    ):
        raise ConfigError(
            "metric_list is no list of `- metric: NAME`",
            where=file.where("metric_list"),
            fix="write it as one",
            code="config.wrong_type",
        )
    for name in functions(file.values):
        _check_function(file, name)


def functions(value: Any) -> Iterable[Function]:
    """Yield every `!function` in a value."""
    if isinstance(value, Function):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from functions(item)
    elif isinstance(value, list):
        for item in value:
            yield from functions(item)


def _check_function(file: TaskFile, name: Function) -> None:
    module, _, function = name.rpartition(".")
    # lm-eval looks beside the YAML that names the function: this one, or one that it includes.
    places = [path.parent / f"{module}.py" for path in file.read]
    there = [place for place in places if place.is_file()]
    if not any(re.search(rf"\b{re.escape(function)}\b", place.read_text(encoding="utf-8")) for place in there):
        what = f"{there[0].name} has no function {function}" if there else f"there is no {module}.py"
        line = _line_of(file.path, name)
        raise ConfigError(
            f"!function {name}: {what}",
            where=f"{file.path} line {line}" if line else str(file.path),
            fix=f"write {function} into {places[0]}",
            code="config.function_unusable",
        )


def _line_of(path: Path, text: str) -> int | None:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if text in line), None)


def content_digest(files: Iterable[Path], *more: str) -> str:
    """Return the SHA-256 over names and bytes of the files, and over the texts that stand for what is no file.

    A YAML's lines `cluster:` and `suite_title_ko:` are left out: a task that gets them is not asked again.
    """
    digest = hashlib.sha256()
    for path in sorted(set(files), key=lambda file: (file.name, str(file))):
        digest.update(f"{path.name}\0".encode())
        if path.suffix in (".yaml", ".yml"):
            digest.update(hashlib.sha256(_NOT_ASKED.sub(b"", path.read_bytes())).digest())
            continue
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    for text in more:
        digest.update(f"\0{text}".encode())
    return digest.hexdigest()
