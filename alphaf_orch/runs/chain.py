"""The models of a run that can be judged: its base, and what each stage of the chain made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.inputs.identity import folder_identity
from alphaf_orch.planning.base import find_base, find_preset
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.stages import MERGE_MODELS, SECTIONS, stage_name
from alphaf_orch.runs.cleaned import was_cleaned
from alphaf_orch.runs.damage import refuse, refuse_model
from alphaf_orch.runs.find import finished_sft
from alphaf_orch.settings.config import RunConfig, build_config, read_remembered
from alphaf_orch.settings.merge import read_settings

CHAIN = ("base", "sft", "dpo", "merged")
MADE = CHAIN[1:]
Name = TypeVar("Name", bound=str)
# The stage whose end makes each model.
_MADE_BY: Mapping[str, str] = {"merged": MERGE_MODELS} | {each: stage_name("merge", each) for each in SECTIONS}


@dataclass(frozen=True)
class ChainModel:
    """One model of a run: where it is and what identifies its weights, tokenizer and settings."""

    stage: str
    path: str  # a folder, or for the base a hub id whose files are in the local cache
    revision: str | None
    identity: str  # the commit of a hub model, else identity.folder_identity
    tokenizer: str | None = None  # a folder, where it is asked with another tokenizer or chat template than the run's


def run_config(paths: RunPaths) -> RunConfig:
    """Return the settings that a run remembers."""
    return build_config(read_remembered(paths.config), str(paths.config))


def model_folder(paths: RunPaths, stage: str, manifest: Mapping[str, Any] | None = None) -> Path:
    """Return where the finished model of a stage is, by what the manifest says of how it was trained."""
    made = (manifest or read_manifest(paths.manifest))["stages"].get(_MADE_BY.get(stage), {})
    return paths.model(stage, full=made.get("spec", {}).get("adapter") == "full")


def finished(paths: RunPaths, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the stages of the chain whose models are finished, if damaged; the base is there once the SFT began."""
    stages = manifest["stages"]
    done = [name for name in MADE if stages.get(_MADE_BY[name], {}).get("state") == "done"]
    return ("base", *(name for name in done if model_folder(paths, name, manifest).is_dir()))


def newest(paths: RunPaths, manifest: Mapping[str, Any], among: Sequence[Name]) -> Name | None:
    """Return the last of these models, in the order of the chain, that is finished, or None where none is."""
    there = finished(paths, manifest)
    return next((name for name in reversed(among) if name in there), None)


def chain_models(paths: RunPaths, stages: Sequence[str] = ()) -> tuple[ChainModel, ...]:
    """Return the asked-for models in the order of the chain; without a wish, every finished one.

    Raises ConfigError for a stage that no chain has and RunStateError for one that is not finished.
    """
    unknown = [name for name in stages if name not in CHAIN]
    if unknown:
        raise ConfigError(
            f"{unknown[0]} is no stage of the chain",
            where="--stages",
            fix=f"use {', '.join(CHAIN)}",
            code="config.unknown_name",
        )
    there = finished(paths, read_manifest(paths.manifest))
    missing = [name for name in stages if name not in there]
    if missing:
        entry = read_manifest(paths.manifest)["stages"].get(_MADE_BY.get(missing[0]), {})
        if was_cleaned(entry, paths, model_folder(paths, missing[0])):
            raise RunStateError(
                f"the {missing[0]} model of run {paths.full_name} was deleted by `alphaf clean --merged`",
                where=str(paths.manifest),
                fix=f"`alphaf {missing[0]} --run {paths.full_name}` merges it anew; finished are: {', '.join(there)}",
                code="run.model_deleted",
            )
        raise RunStateError(
            f"the {missing[0]} model of run {paths.full_name} is not finished",
            where=str(paths.manifest),
            fix=f"finished are: {', '.join(there)}; `alphaf run --run {paths.full_name}` goes on with the rest",
            code="run.unfinished",
        )
    return tuple(_model(paths, name) for name in there if not stages or name in stages)


def asked_models(paths: RunPaths, stages: Sequence[str] = ()) -> tuple[ChainModel, ...]:
    """Return the models to evaluate: as chain_models, and a merged one also under its partners' chat templates."""
    found = []
    for model in chain_models(paths, stages):
        found += [model, *(partner_variants(model) if model.stage == "merged" else ())]
    return tuple(found)


def partner_variants(model: ChainModel) -> tuple[ChainModel, ...]:
    """Return a merged model once more for each partner's chat template that the merge found to be another."""
    folders = sorted(path for path in Path(model.path).glob("partner_template*") if path.is_dir())
    return tuple(replace(model, stage=f"{model.stage}_{path.name}", tokenizer=str(path)) for path in folders)


def _model(paths: RunPaths, stage: str) -> ChainModel:
    if stage == "base":
        config = run_config(paths)
        base = find_base(config, find_preset(config), online=False, need_weights=True)
        identity = base.weights()
        if identity is None:
            raise RunStateError(
                f"the base model of run {paths.full_name} is not made yet",
                where=base.name,
                fix=f"`alphaf run --run {paths.full_name}` makes it",
                code="run.unfinished",
            )
        return ChainModel(stage, base.name, base.revision, identity)
    folder = model_folder(paths, stage)
    refuse_model(folder, "look")
    return ChainModel(stage, str(folder), None, folder_identity(folder))


def merge_scope(config: RunConfig, paths: RunPaths, *, online: bool, dry: bool) -> Scope:
    """Return the scope of a merge of the run's finished model; raise RunStateError where there is none."""
    finished_sft(paths)
    asked = read_settings(config.merge, find_preset(config).merge, "the merge settings").stage
    manifest = read_manifest(paths.manifest)
    section = asked or newest(paths, manifest, SECTIONS) or "sft"
    if section not in finished(paths, manifest):
        raise RunStateError(
            f"the {section} model of run {paths.full_name} is not finished",
            where=str(paths.manifest),
            fix=f"`alphaf {section} --run {paths.full_name}` goes on with it, or name another --stage",
            code="run.unfinished",
        )
    refuse(paths, [stage_name("merge", section)], "look")
    upstream = manifest["stages"][stage_name("merge", section)]["fingerprint"]
    return Scope((), online, dry, upstream, merge=True, merge_alone=section)
