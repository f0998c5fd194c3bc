"""The models that go into a merge besides the run's own: where their files are, what identifies them, their licence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.names import expanded, real
from alphaf_orch.core.paths import cache_dir
from alphaf_orch.core.small_files import small_text
from alphaf_orch.inputs import hub_cache
from alphaf_orch.inputs.executable import refuse_pickles
from alphaf_orch.inputs.identity import folder_identity, known_identity
from alphaf_orch.inputs.model_files import brings_code, split_card
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.inputs.model_kinds import refusal
from alphaf_orch.inputs.presets import is_own, load_preset
from alphaf_orch.inputs.weights import missing_files

UNKNOWN_LICENCE = "unknown: read the model's own licence"


@dataclass(frozen=True)
class MergeModel:
    """A model of a merge: its files (or its hub id while they are not here), commit or fingerprint, licence."""

    name: str  # the hub id, or the folder's own name: what a card may say
    path: str
    revision: str | None
    identity: str | None
    licence: str
    here: bool  # whether its files are on this machine

    @property
    def spec(self) -> str:
        """What a merge depends on: the commit or fingerprint, or the name while nothing is there yet."""
        return self.identity or f"{self.name}, not here yet"

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest keeps of it."""
        return {"model": self.name, "licence": self.licence, "revision": self.revision or self.identity}


def find_merge_model(
    name: str,
    folders: Sequence[Path],
    env: Mapping[str, str],
    *,
    need_weights: bool,
    trust_remote_code: bool,
    read: bool = True,
) -> MergeModel:
    """Return the model that a preset's name, a folder or a hub id means.

    Raises ModelError for an unknown name, for weights that are not here or cut short (unless need_weights is
    false), and for python code that nobody allowed. Without `read`, large weights that are not known yet have no
    identity.
    """
    local, licence = expanded(name), None
    models = [folder / "models" for folder in folders]
    own = is_own(name, models)
    if own and local.is_dir():
        found = _in_folder(real(local), real(local).name, None, read=read)
    elif own:
        found = _on_hub(name, None, env)
    else:
        preset = load_preset(name, models)
        licence = preset.licence
        if preset.source == "hub":
            found = _on_hub(preset.base_model, preset.revision, env)
        else:
            found = _in_folder(cache_dir() / "models" / preset.name, preset.name, None, read=read)
    if found.here:
        _check(name, Path(found.path), trust_remote_code=trust_remote_code)
    elif need_weights:
        raise _not_here(name, found, env)
    return replace(found, licence=licence or found.licence)


def _on_hub(repo: str, revision: str | None, env: Mapping[str, str]) -> MergeModel:
    folder = hub_cache.snapshot(repo, "model", revision, env)
    if folder is None:
        return MergeModel(repo, repo, revision, None, UNKNOWN_LICENCE, here=False)
    return _in_folder(folder, repo, folder.name)


def _in_folder(folder: Path, name: str, commit: str | None, *, read: bool = True) -> MergeModel:
    identity = commit
    if identity is None and folder.is_dir():
        identity = folder_identity(folder) if read else known_identity(folder)
    return MergeModel(name, str(folder), commit, identity, card_licence(folder), here=folder.is_dir())


def card_licence(folder: Path) -> str:
    """Return the licence that the README of a model folder states, or that none is known."""
    card = folder / "README.md"
    if not card.is_file():
        return UNKNOWN_LICENCE
    try:
        values, _ = split_card(small_text(card, subject="the README is ", error=ModelError))
    except (yaml.YAMLError, ModelError):
        return UNKNOWN_LICENCE  # the card is another's text; the merge does not depend on it
    stated = values.get("license_name") if values.get("license") in (None, "other") else values["license"]
    return str(stated) if isinstance(stated, str) else UNKNOWN_LICENCE


def _not_here(asked: str, model: MergeModel, env: Mapping[str, str]) -> ModelError:
    if model.path != model.name:
        return ModelError(
            f"the merge model {asked} is not made yet",
            where=model.path,
            fix=f"`alphaf run --model {asked}` makes it; or name another partner",
            code="model.not_here",
        )
    place = hub_cache.repo_dir(model.name, "model", env)
    return ModelError(
        f"the weights of the merge model {asked} are not on this machine",
        where=f"{model.name} is not in {place}",
        fix=f"on a machine with a network run `hf download {model.name}` and copy its folder {place.name} to"
        f" {place.parent}; or name the path of a model folder; or allow the download with --online",
        code="model.not_here",
    )


def _check(asked: str, folder: Path, *, trust_remote_code: bool) -> None:
    refused = refusal(folder)
    if refused:
        raise ModelError(
            f"the merge model {asked}: {refused.what}", where=refused.where, fix=refused.fix, code=refused.code
        )
    lacking = missing_files(folder)
    if lacking:
        raise ModelError(
            f"the files of the merge model {asked} are incomplete",
            where=f"{folder}: {'; '.join(lacking)}",
            fix="copy the named files again",
            code="model.incomplete",
        )
    refuse_pickles(
        f"the merge model {asked}",
        folder,
        "name a copy in safetensors: python -m alphaf_orch.programs.models.from_pickle --model FOLDER --output NEW",
    )
    config = model_json(folder / "config.json") or {}
    if brings_code(config) and not trust_remote_code:
        raise ModelError(
            f"the merge model {asked} runs python code that comes with its weights",
            where=str(folder),
            fix="read its .py files, then pass --trust-remote-code when the run is started",
            code="model.runs_code",
        )
