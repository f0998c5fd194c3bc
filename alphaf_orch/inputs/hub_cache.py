"""What a repository of the Hugging Face hub is called, and where the cache keeps it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Literal

from alphaf_orch.core.names import expanded

RepoType = Literal["model", "dataset"]
_NAME = r"[\w-][\w.-]*"
REPO_ID = rf"{_NAME}/{_NAME}"  # org/name as the hub allows it
_OLD_ID = re.compile(rf"({_NAME}/)?{_NAME}", re.ASCII)  # data sets of the first years have no org


def is_repo_id(text: str) -> bool:
    """Return whether the text may be the name of a repository, org/name."""
    return re.fullmatch(REPO_ID, text, re.ASCII) is not None


def is_dataset_id(text: str) -> bool:
    """Return whether the text may be the name of a data set, org/name or, of an old one, name."""
    return _OLD_ID.fullmatch(text) is not None


def cache_root(env: Mapping[str, str]) -> Path:
    """Return the cache folder, by the variables and the order huggingface_hub uses."""

    def place(value: str) -> Path:
        home = env.get("HOME", "~")
        value = home + value[1:] if value == "~" or value.startswith("~/") else value
        return expanded(Template(value).safe_substitute(env))

    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if env.get(name):
            return place(env[name])
    if env.get("HF_HOME"):
        return place(env["HF_HOME"]) / "hub"
    return place(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def repo_dir(repo_id: str, repo_type: RepoType, env: Mapping[str, str]) -> Path:
    """Return the repository's folder in the cache, whether or not it exists."""
    return cache_root(env) / f"{repo_type}s--{repo_id.replace('/', '--')}"


def snapshot(repo_id: str, repo_type: RepoType, revision: str | None, env: Mapping[str, str]) -> Path | None:
    """Return the cached snapshot of a branch, tag or commit (None: main), or None if it is not there."""
    folder = repo_dir(repo_id, repo_type, env)
    wanted = revision or "main"
    ref = folder / "refs" / wanted
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else wanted
    found = folder / "snapshots" / commit
    return found if commit and found.is_dir() else None
