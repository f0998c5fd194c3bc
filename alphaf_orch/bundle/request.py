"""What a bundle is asked to hold, settled: repositories of the hub, and the user's own files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.bundle.files import File, below, check_place
from alphaf_orch.bundle.target import Target
from alphaf_orch.core.errors import ConfigError, DataError, ModelError
from alphaf_orch.core.paths import PACKAGE, template_folders
from alphaf_orch.evaluation.tasks.suites import find_tasks, select_tasks
from alphaf_orch.inputs.hub_cache import RepoType, is_repo_id
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.inputs.sources import parse_source
from alphaf_orch.planning.base import find_preset
from alphaf_orch.programs.models.fetch_model import SMALL_FILES
from alphaf_orch.settings.config import RunConfig, build_config


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked a bundle to hold, and for which machine."""

    target: Target
    accel: str
    models: Sequence[str] = ()
    data: Sequence[str] = ()
    dpo_data: Sequence[str] = ()
    suites: Sequence[str] = ()
    judge_models: Sequence[str] = ()
    vllm: bool = False
    allow_pickle: bool = False
    config: Path | None = None
    checkout: Path = PACKAGE.parent  # where the locks and our own source are


@dataclass(frozen=True, order=True)
class Wanted:
    """A repository of the hub at a branch, tag or commit (None: main)."""

    kind: RepoType
    repo: str
    revision: str | None


@dataclass(frozen=True)
class Local:
    """One file of the user's and where it comes to lie."""

    source: Path
    file: File


def settle(request: Request, config: RunConfig) -> tuple[list[Wanted], list[Local]]:
    """Return the repositories and files that are asked for, each once, sorted.

    Raises ConfigError, ModelError or DataError for a model, suite or file that there is not.
    """
    wanted: set[Wanted] = set()
    local: list[Local] = []
    data = [*request.data, *request.dpo_data]
    for name in request.models:
        preset = find_preset(build_config({**config.model_dump(exclude_defaults=True), "model": name}, "--model"))
        if preset.source == "hub":
            wanted.add(Wanted("model", preset.base_model, config.base_revision or preset.revision))
        elif preset.source == "local":
            local += _model_folder(preset)
        asked = ((request.data, preset.sft_data), (request.dpo_data, preset.dpo_data))
        data += [own for given, own in asked if not given and own != "sample"]
    for name in request.judge_models:
        repo, _, revision = name.partition("@")
        if not is_repo_id(repo):
            raise ModelError(
                f"{name!r} is no hub id",
                where="--judge-model",
                fix="give ORG/NAME or ORG/NAME@REVISION",
                code="model.not_a_hub_id",
            )
        wanted.add(Wanted("model", repo, revision or None))
    for text in data:
        source = parse_source(text)
        if source.kind == "hub":
            wanted.add(Wanted("dataset", source.path, source.revision))
        else:
            local += _data_files(Path(source.path))
    wanted.update(_of_suites(request, config))
    _refuse_twins(local)
    return sorted(wanted, key=lambda one: (one.kind, one.repo, one.revision or "")), local


def _of_suites(request: Request, config: RunConfig) -> Iterator[Wanted]:
    if not request.suites:
        return
    tasks = find_tasks(template_folders(config.templates), sys.executable, os.environ)
    for task in select_tasks(tasks, request.suites, ()):
        if task.dataset:
            yield Wanted("dataset", task.dataset, (task.config.get("dataset_kwargs") or {}).get("revision"))


def _model_folder(preset: ModelPreset) -> Iterator[Local]:
    """Yield what a model's folder holds that is not pickled."""
    folder = Path(preset.base_model)
    fit = [place for place in below(folder) if any(Path(place).match(p) for p in (*SMALL_FILES, "*.safetensors"))]
    for place in fit:
        yield _local(folder / place, f"models/{preset.name}/{place}")


def _data_files(path: Path) -> Iterator[Local]:
    if path.is_dir():
        for place in below(path):
            yield _local(path / place, f"data/{path.name}/{place}")
    else:
        yield _local(path, f"data/{path.name}")


def _local(source: Path, place: str) -> Local:
    if not source.is_file():  # a link to a file is taken as that file
        raise DataError(
            f"{source.name} is no file",
            where=str(source),
            fix="name files, not pipes, devices or broken links",
            code="data.not_a_file",
        )
    return Local(source, File(check_place(place, str(source)), source.stat().st_size))


def _refuse_twins(local: Sequence[Local]) -> None:
    seen: dict[str, Path] = {}
    for one in local:
        # A USB stick's file system takes `A` and `a` for one name.
        other = seen.setdefault(one.file.path.casefold(), one.source)
        if other != one.source:
            raise ConfigError(
                f"two files would be {one.file.path} in the bundle",
                where=f"{other} and {one.source}",
                fix="rename one",
                code="config.given_twice",
            )
