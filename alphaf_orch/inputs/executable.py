"""What of a model or of data is more than data: pickles that a loader would open, python that it would run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.core.record import read_json
from alphaf_orch.inputs.hub_cache import snapshot
from alphaf_orch.inputs.kept import found_once
from alphaf_orch.inputs.model_files import WEIGHTS, loaded_file, shards
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.inputs.sources import file_hash

SAFE = ".safetensors"
# Of transformers 5: where a folder says that python of its own is to be loaded.
_NAMED_IN = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
# Builders of `datasets` 4.8 that unpickle: pandas.read_pickle has no form that only reads data.
_PICKLED_DATA = ("pandas",)


@dataclass(frozen=True)
class Executable:
    """A file that could run code, or does: a pickle of weights, or python that comes with a model."""

    kind: Literal["pickle", "code"]
    model: str
    path: Path
    name: str  # in its folder; of another repository with that one's id

    def record(self) -> dict[str, Any]:
        """Return what a manifest keeps of it, its SHA-256 included: a large file is read for that once."""
        found = found_once("data_bytes", self.path, {}, partial(file_hash, self.path))
        size = self.path.stat().st_size
        return {"kind": self.kind, "model": self.model, "file": self.name, "bytes": size, "sha256": found["sha256"]}


def pickled_weights(folder: Path) -> tuple[str, ...]:
    """Return the names of the weight files that would be opened and are no safetensors.

    Looked at is what a loader would open, not what lies beside it: an index may name pickles under any name, and a
    safetensors file of another purpose makes no pickle harmless. Raises ModelError where an index leads out of the
    folder.
    """
    named = (model_json(folder / "config.json") or {}).get("transformers_weights")
    explicit = folder / named if isinstance(named, str) else None
    loaded = explicit if explicit and explicit.is_file() else loaded_file(folder)
    names = shards(loaded) if loaded else []
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ModelError(
                f"the index of the weights names a file outside the model's folder: {name}",
                where=str(loaded),
                fix="copy the model again from where it comes from; do not use this one",
                code="model.path_outside",
            )
    return tuple(name for name in names if not name.endswith(SAFE))


def require_one_kind(folder: Path) -> None:
    """Raise ModelError for pickles of weights beside safetensors: who reads them chooses which."""
    loaded = loaded_file(folder)
    other = next(iter(sorted(folder.glob(f"*{SAFE}"))), None)
    if loaded and other and loaded.name.startswith(WEIGHTS[1]):
        raise ModelError(
            f"the folder holds {loaded.name} and {other.name}: which of them are the model's weights is not clear",
            where=str(folder),
            fix="leave the files of one kind in it",
            code="model.ambiguous",
        )


def refuse_pickles(what: str, folder: Path, fix: str) -> None:
    """Raise ModelError where the weights in a folder are pickles; `what` names the model in the message."""
    names = pickled_weights(folder)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ModelError(
            f"{what} has no safetensors weights: {names[0]}{more} is a pickle, which can run code when it is read",
            where=str(folder / names[0]),
            fix=fix,
            code="model.pickle",
        )


def pickles(model: str, folder: Path) -> tuple[Executable, ...]:
    """Return the pickles of weights that a loader would open."""
    return tuple(Executable("pickle", model, folder / name, name) for name in pickled_weights(folder))


def python_files(model: str, folder: Path, env: Mapping[str, str]) -> tuple[Executable, ...]:
    """Return the python that a model may run: all of its folder, and of the repositories that its settings name."""
    found = [
        Executable("code", model, path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*.py"))
    ]
    for repo in sorted(set(_other_repositories(folder))):
        place = snapshot(repo, "model", None, env)
        if place:
            names = [(path, path.relative_to(place).as_posix()) for path in sorted(place.rglob("*.py"))]
            found += [Executable("code", model, path, f"{repo}--{name}") for path, name in names]
    return tuple(found)


def _other_repositories(folder: Path) -> Iterator[str]:
    """Yield the hub ids in front of `--` in every auto_map: their python runs although it is not in the folder."""
    for name in _NAMED_IN:
        mapped = (read_json(folder / name) or {}).get("auto_map")
        targets = list(mapped.values()) if isinstance(mapped, dict) else [mapped]
        for target in targets:
            for each in target if isinstance(target, list) else [target]:
                repo, dashes, _ = str(each).partition("--")
                if dashes:
                    yield repo


def refuse_pickled_data(values: Any, where: str) -> None:
    """Raise ConfigError for a data set, wherever in the settings, that `datasets` would read by unpickling it."""
    if isinstance(values, Mapping):
        for key in ("ds_type", "path"):
            if values.get(key) in _PICKLED_DATA and (key == "ds_type" or "data_files" in values):
                raise ConfigError(
                    f"{key}: {values[key]} reads rows out of pickles, which can run code when they are read",
                    where=where,
                    fix="write the rows as Parquet or JSON Lines (pandas: to_parquet) and name those",
                    code="config.pickle",
                )
    inner = values.values() if isinstance(values, Mapping) else values if isinstance(values, list | tuple) else ()
    for each in inner:
        refuse_pickled_data(each, where)
