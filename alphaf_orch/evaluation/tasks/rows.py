"""The rows of evaluation tasks: which files or hub data set they are, whether they are here, what lm-eval gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.render import Rendered, plain
from alphaf_orch.evaluation.tasks.task_yaml import BUILDERS
from alphaf_orch.inputs import hub_cache
from alphaf_orch.inputs.sources import hub_is_cached, refuse_pattern
from alphaf_orch.programs.lines import bounded_lines

if TYPE_CHECKING:
    from alphaf_orch.evaluation.tasks.task import Task

# What `datasets` 4 makes rows of; it refuses loading scripts.
_ROWS = (".parquet", ".json", ".jsonl", ".csv", ".tsv", ".arrow", ".txt", ".zip", ".gz", ".zst", ".xml")


def hub_id(config: Mapping[str, Any]) -> str | None:
    """Return the hub data set that a task reads, or None where its rows are local or made by its python."""
    path = config.get("dataset_path")
    if "custom_dataset" in config or not isinstance(path, str) or path in BUILDERS or Path(path).is_absolute():
        return None
    return path if hub_cache.is_dataset_id(path) else None


def local_files(config: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the local files that a task reads, there or not."""
    path = str(config.get("dataset_path"))
    if Path(path).is_absolute():
        folder = Path(path)
        return tuple(sorted(file for file in folder.rglob("*") if file.is_file())) or (folder,)
    return tuple(file for names in _data_files(config).values() for file in names)


def count_rows(config: Mapping[str, Any]) -> int | None:
    """Return how many rows of local JSON Lines files the task asks the model about, None for other files."""
    files = asked_files(config)
    return sum(_rows(file) for file in files) if files else None


def asked_files(config: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the local JSON Lines files of the rows that the model is asked; none where they are not there as such."""
    split = str(config.get("test_split") or config.get("validation_split"))
    files = _data_files(config).get(split, ())
    return () if any(file.suffix != ".jsonl" or not file.is_file() for file in files) else files


def _rows(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(bool(line.strip()) for line in bounded_lines(lines))


def data_identity(config: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Return what identifies the rows of a hub data set: the commit in the cache; of local rows nothing."""
    repo = hub_id(config)
    if repo is None:
        return ""
    folder = hub_cache.snapshot(repo, "dataset", _revision(config), env)
    return f"hub:{repo}@{folder.name if folder else 'absent'}"


def require_data(tasks: Sequence[Task], env: Mapping[str, str]) -> None:
    """Raise DataError naming every data set and file that the tasks need and this machine lacks."""
    files = [(task.name, file) for task in tasks for file in local_files(task.config)]
    for name, file in files:
        fix = "rename the file or folder without * ? [ and ::; several files are given as a list"
        refuse_pattern(file, f"{file} (task {name})", fix)
    absent = [(name, file) for name, file in files if not file.is_file()]
    if absent:
        raise DataError(
            f"no data for {', '.join(sorted({task for task, _ in absent}))}",
            where=", ".join(str(path) for _, path in absent),
            fix="put the file there, or correct `dataset_path` and `data_files` (relative to the YAML)",
            code="data.file_missing",
        )
    lacking: dict[tuple[str, str | None], list[str]] = {}
    for task in tasks:
        if task.dataset is not None and _hub_problem(task, env):
            lacking.setdefault((task.dataset, _revision(task.config)), []).append(task.name)
    if not lacking:
        return
    problems = {
        repo: _hub_problem(next(t for t in tasks if t.name == names[0]), env) for (repo, _), names in lacking.items()
    }
    lines = [f"{repo} ({problems[repo]}; for {_shortened(names)})" for (repo, _), names in lacking.items()]
    commands = [
        f"hf download --repo-type dataset {repo}" + (f" --revision {revision}" if revision else "")
        for repo, revision in lacking
    ]
    folders = " ".join(hub_cache.repo_dir(repo, "dataset", env).name for repo, _ in lacking)
    root = hub_cache.cache_root(env)
    count = "a data set is" if len(lines) == 1 else f"{len(lines)} data sets are"
    raise DataError(
        f"{count} not ready on this machine:\n    " + "\n    ".join(lines),
        where=str(root),
        fix="where there is a network run\n    "
        + "\n    ".join(commands)
        + f"\n  and pack what they made, with its links: tar -C ~/.cache/huggingface/hub -cf eval-data.tar {folders}"
        + f"\n  here: tar -C {root} -xf eval-data.tar",
        code="data.not_here",
    )


def render_tasks(tasks: Sequence[Task], env: Mapping[str, str], folder: Path) -> dict[Path, Rendered]:
    """Return the YAMLs for lm-eval's include_path: each task as it is, its rows named by absolute path.

    Offline, `datasets` 4.8.4 does not find org/name in the hub cache but loads the snapshot's folder.
    """
    return {folder / f"{task.name}.yaml": plain(_overrides(task, env, folder)) for task in tasks}


def _overrides(task: Task, env: Mapping[str, str], folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = {"include": str(task.path), "task": task.name}
    kwargs = dict(task.config.get("dataset_kwargs") or {})
    if task.dataset is not None:
        found = hub_is_cached(task.dataset, env, kwargs.pop("revision", None))
        if found is None:
            require_data((task,), env)
        values["dataset_path"] = str(found)
    elif "dataset_path" in task.config:
        values["dataset_path"] = task.config["dataset_path"]
        if Path(values["dataset_path"]).is_absolute():
            # Its cache knows a folder with a card by name alone: other or changed rows would be taken for these.
            kwargs["cache_dir"] = str(folder / "rows" / task.content[:16])
    if kwargs or "dataset_kwargs" in task.config:
        values["dataset_kwargs"] = kwargs
    return values


def _data_files(config: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    if config.get("dataset_path") not in BUILDERS:
        return {}
    files = (config.get("dataset_kwargs") or {}).get("data_files", {})
    # `datasets` calls files without a split "train".
    splits = files if isinstance(files, Mapping) else {"train": files}
    return {
        str(split): tuple(Path(str(name)) for name in ([names] if isinstance(names, str) else names))
        for split, names in splits.items()
    }


def _revision(config: Mapping[str, Any]) -> str | None:
    revision = (config.get("dataset_kwargs") or {}).get("revision")
    return str(revision) if revision else None


def _hub_problem(task: Task, env: Mapping[str, str]) -> str:
    """Return why a hub data set cannot be loaded from the cache, or nothing."""
    assert task.dataset is not None
    folder = hub_is_cached(task.dataset, env, _revision(task.config))
    if folder is None:
        return "absent"
    files = [file for file in folder.rglob("*") if not file.is_dir()]
    # The links of a snapshot lead to blobs/ beside it, which a careless copy leaves behind.
    broken = [file for file in files if not file.is_file()]
    if broken:
        return f"incomplete: {len(broken)} of {len(files)} files lead nowhere, such as {broken[0].name}"
    if not any(file.suffix in _ROWS for file in files):
        return "no data files in it, only what `datasets` 4 cannot load"
    return ""


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
