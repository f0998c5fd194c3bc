"""The base model of a run: its preset, where its weights are, and what identifies them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import cache_dir, template_folders
from alphaf_orch.core.record import fingerprint
from alphaf_orch.inputs import presets, weights
from alphaf_orch.inputs.executable import pickled_weights, refuse_pickles, require_one_kind
from alphaf_orch.inputs.identity import folder_identity, is_old, known_identity, old_identity
from alphaf_orch.inputs.model_kinds import require_trainable
from alphaf_orch.inputs.own_model import generic_preset
from alphaf_orch.inputs.samples import sample_path
from alphaf_orch.planning.stages import Stage
from alphaf_orch.settings.config import RunConfig, Tool

_ALLOW_PICKLE = (
    "pass the model in safetensors; or, if you trust who made it, pass --allow-pickle: its tensors are read by torch's"
    " weights_only and written anew as safetensors, and the manifest records the files"
)


@dataclass(frozen=True)
class BaseModelRef:
    """The base model as the recipes name it: hub id and commit, or a folder and its fingerprint."""

    name: str
    revision: str | None
    identity: str | None
    stage: Stage | None
    model: str
    pickled: Path | None = None  # where its weights are pickles, which were let in; `name` is their copy in safetensors

    @property
    def spec(self) -> str:
        """What results depend on: the commit or fingerprint, or the name while nothing is there yet."""
        return self.identity or f"{self.model}, not here yet"

    def weights(self) -> str | None:
        """Return what identifies the weights that are there now, in a run of an earlier version too."""
        folder = Path(self.name)
        return folder_identity(folder) if is_old(self.identity) and folder.is_dir() else self.identity


def tool_python(config: RunConfig, tool: Tool) -> str:
    """Return the python of a tool's environment: `tools:` in the config, else the one we run in."""
    return config.tools.get(tool, sys.executable)


def find_preset(config: RunConfig) -> presets.ModelPreset:
    """Return the preset of that name, or the generic recipe for a folder or hub id."""
    folders = tuple(folder / "models" for folder in template_folders(config.templates))
    name = config.model
    if presets.is_own(name, folders):
        return generic_preset(name, folders, os.environ, config.sft.get("chat_template"))
    return presets.load_preset(name, folders)


def find_base(
    config: RunConfig, preset: presets.ModelPreset, *, online: bool, need_weights: bool, read: bool = True
) -> BaseModelRef:
    """Return the base model; raise ModelError where its weights lack, RunStateError where they changed.

    Without `read`, large weights that no run began with and that are not known yet have no identity.
    """
    insisted = config.base_revision
    if preset.source == "hub" and insisted:
        preset = preset.model_copy(update={"revision": insisted})
    cache = cache_dir() / "models"
    state = weights.weights_state(preset, cache, os.environ)
    if state.path and state.path.is_dir():
        require_trainable(state.path)
        if not config.allow_pickle:
            refuse_pickles("the base model", state.path, _ALLOW_PICKLE)
    if need_weights:
        state = weights.require_weights(preset, state, os.environ, online=online)
    python = tool_python(config, "axolotl")
    if preset.source == "hub":
        stage = None
        if online and state.kind != "ready":
            argv = program(python, "models.fetch_model", "--repo", preset.base_model)
            argv += ("--revision", preset.revision) if preset.revision else ()
            argv += ("--allow-pickle",) if config.allow_pickle else ()
            stage = Stage("base_model", "axolotl", argv, {}, (), {"repo": preset.base_model}, PROGRAM_ENV, online=True)
        found = BaseModelRef(preset.base_model, state.revision, state.revision or insisted, stage, preset.name)
        return _as_safetensors(found, state.path, python) if state.kind == "ready" else found
    if state.kind == "build":
        assert state.path is not None
        argv = program(python, f"models.{preset.source}", "--output", str(state.path))
        if preset.source == "build_tiny":
            argv += ("--architecture", preset.base_model.removeprefix("tiny-"))
            argv += ("--data", str(sample_path("finance_ko_sft.jsonl")))
        spec, place = {"builder": preset.source}, (state.path,)
        stage = Stage("base_model", "axolotl", argv, {}, place, spec, PROGRAM_ENV, written_last=place)
        return BaseModelRef(str(state.path), None, insisted, stage, preset.name)
    assert state.path is not None
    identity: str | None
    if is_old(insisted) and insisted == old_identity(state.path):
        identity = insisted  # a run that an earlier version began: what it has finished is known by that name
    else:
        identity = folder_identity(state.path) if read or insisted else known_identity(state.path)
    if insisted and insisted != identity:
        raise RunStateError(
            f"the base model is not the one this run began with ({insisted} then, {identity} now)",
            where=str(state.path),
            fix="bring the first one back, or start again with --run NEW",
            code="run.other_inputs",
        )
    return _as_safetensors(BaseModelRef(str(state.path), None, identity, None, preset.name), state.path, python)


def _as_safetensors(found: BaseModelRef, folder: Path | None, python: str) -> BaseModelRef:
    """Return the base model with its weights in safetensors: itself, or where they are pickles their copy in the cache.

    The copy bears the name of what it was made of, so that other pickles have another; it is made by the first stage.
    """
    if folder is None or not pickled_weights(folder):
        return found
    require_one_kind(folder)
    if found.identity is None:  # a plan that reads no large file
        return replace(found, pickled=folder)
    copy = cache_dir() / "models" / f"{found.model}-{fingerprint(found.identity)[:16]}"
    stage = None
    if not copy.is_dir():
        argv = program(python, "models.from_pickle", "--model", str(folder), "--output", str(copy))
        spec = {"from_pickle": found.identity}
        stage = Stage("base_model", "axolotl", argv, {}, (copy,), spec, PROGRAM_ENV, written_last=(copy,))
    return replace(found, name=str(copy), revision=None, stage=stage, pickled=folder)
