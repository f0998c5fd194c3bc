"""Whether the weights of a model are on this machine and whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import ModelError
from alphaf_orch.inputs.hub_cache import repo_dir, snapshot
from alphaf_orch.inputs.model_files import brings_code, file_problem, loaded_file, safetensors_files, shards
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.programs.tokenizer_files import COMPLETE


@dataclass(frozen=True)
class WeightsState:
    """Where a model's weights are: ready, to be built here, not there, or there in part."""

    kind: Literal["ready", "build", "missing", "incomplete"]
    path: Path | None  # where they are or will be built; None: nothing of them is here
    revision: str | None  # the commit, for a model of the hub
    detail: str


def weights_state(preset: ModelPreset, cache_dir: Path, env: Mapping[str, str]) -> WeightsState:
    """Return whether the base model can be loaded from this machine; never touches the network.

    Models we build or convert live in cache_dir/NAME, others in the Hugging Face cache or the user's folder.
    """
    if preset.source == "hub":
        path = snapshot(preset.base_model, "model", preset.revision, env)
        if path is None:
            asked = f"{preset.base_model}@{preset.revision or 'main'}"
            place = repo_dir(preset.base_model, "model", env)
            return WeightsState("missing", None, preset.revision, f"{asked} is not in {place}")
        state = WeightsState("ready", path, path.name, f"commit {path.name}")
    elif preset.source == "local":
        state = WeightsState("ready", Path(preset.base_model), None, "a folder of yours")
    else:
        path = cache_dir / preset.name
        if not path.is_dir():
            return WeightsState("build", path, None, f"made on this machine by {preset.source}.py")
        state = WeightsState("ready", path, None, f"made by {preset.source}.py")
    lacking = missing_files(state.path) if state.path else ()
    return replace(state, kind="incomplete", detail="; ".join(lacking)) if lacking else state


def require_weights(preset: ModelPreset, state: WeightsState, env: Mapping[str, str], *, online: bool) -> WeightsState:
    """Return the state if training can go on from it: ready, to be built, or to be fetched because online.

    Raises ModelError that says how to bring the weights to this machine.
    """
    fetchable = online and preset.source == "hub"
    if state.kind in ("ready", "build") or fetchable:
        return state
    what = "are not on this machine" if state.kind == "missing" else "are incomplete"
    where = state.detail if state.path is None else f"{state.path}: {state.detail}"
    if preset.source == "hub":
        place = repo_dir(preset.base_model, "model", env)
        commit = f" --revision {preset.revision}" if preset.revision else ""
        fix = (
            f"on a machine with a network run `hf download {preset.base_model}{commit}` and copy its folder "
            f"{place.name} (HF_HOME/hub there) to {place.parent}; or pass --model /path/to/the/folder; "
            "or allow the download with --online"
        )
    elif preset.source == "local":
        fix = "copy the named files into the folder again, or pass another --model"
    else:
        fix = f"remove {state.path} and run again: it is made anew"
    raise ModelError(
        f"the weights of {preset.name} {what}",
        where=where,
        fix=fix,
        code="model.not_here" if state.kind == "missing" else "model.incomplete",
    )


def missing_files(model_dir: Path) -> tuple[str, ...]:
    """Return what a model folder lacks to be loaded, each with the reason; empty means complete.

    Names absent files, links whose target is gone, and safetensors files shorter than their own header says.
    """
    config = model_json(model_dir / "config.json")
    lacking = ["config.json (absent or not JSON)"] if config is None else _missing_code(model_dir, config)
    if not any(all((model_dir / name).is_file() for name in group) for group in COMPLETE):
        lacking.append("tokenizer.json (absent, and no other tokenizer)")
    return (*lacking, *_missing_weights(model_dir))


def _missing_code(model_dir: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the python files that config.json's auto_map names, that will be run, and that the folder lacks."""
    if not brings_code(config):
        return []
    targets = [str(target) for target in config["auto_map"].values()]
    # "repo--module.Class" lives in another repository.
    modules = {target.split(".")[0] for target in targets if "--" not in target}
    files = sorted(f"{module}.py" for module in modules)
    return [f"{name} (absent)" for name in files if not (model_dir / name).is_file()]


def _missing_weights(model_dir: Path) -> list[str]:
    """Return the weight files that are absent or cut short, of those that transformers would load."""
    loaded = loaded_file(model_dir)
    if loaded is None:
        return ["model.safetensors (absent, and no other weights)"]
    problems = [(shard, file_problem(model_dir / shard)) for shard in shards(loaded)]
    if not problems:
        return [f"{loaded.name} (not JSON, or no weight_map)"]
    return [f"{shard} ({problem})" for shard, problem in problems if problem]


def weights_problem(folder: Path) -> str | None:
    """Return why the safetensors weights of a model or adapter folder are not whole, or None."""
    if not folder.is_dir():
        return f"{folder} does not exist"
    index = folder / "model.safetensors.index.json"
    files = safetensors_files(folder)
    if not files:
        return f"{index} is cut off" if index.is_file() else f"{folder} holds no safetensors file"
    problems = ((file, file_problem(file)) for file in files)
    return next((f"{file}: {problem}" for file, problem in problems if problem), None)
