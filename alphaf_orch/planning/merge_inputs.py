"""What a merge of whole models is planned from: who takes part, and what their files say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.inputs import hub_cache
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.planning.base import BaseModelRef
from alphaf_orch.planning.merge_checks import ModelFacts, read_facts
from alphaf_orch.planning.merge_partners import MergeModel
from alphaf_orch.planning.stages import Section
from alphaf_orch.settings.merge import WITHOUT_BASE, MergeSettings


@dataclass(frozen=True)
class MergeInputs:
    """Who takes part in a merge, with the facts of those whose files are here."""

    section: Section
    partners: tuple[MergeModel, ...]
    base: MergeModel
    own: ModelFacts | None  # of the run's model; before it is there, of its base, which has the same shape
    trained: bool  # whether the run's model is there
    facts: Mapping[str, ModelFacts]  # the others', by their path


def base_as_merged(base: BaseModelRef, preset: ModelPreset, env: Mapping[str, str]) -> MergeModel:
    """Return the base model of the run as a model of the merge."""
    folder, name = Path(base.name), preset.name
    if preset.source == "hub" and not folder.is_absolute():
        folder = hub_cache.snapshot(base.name, "model", base.revision, env) or folder
    name = preset.base_model if preset.source == "hub" else name
    return MergeModel(name, str(folder), base.revision, base.weights(), preset.licence, here=folder.is_dir())


def read_inputs(
    settings: MergeSettings, section: Section, model_dir: Path, partners: tuple[MergeModel, ...], base: MergeModel
) -> MergeInputs:
    """Return what config.json, safetensors headers and tokenizer files of the models say; `model_dir` is the run's own.

    Raises ModelError for files that cannot be read.
    """
    trained = any(model_dir.glob("*.safetensors"))
    start = model_dir if trained else Path(base.path) if base.here and not settings.base else None
    involved = [*partners, *([base] if settings.method not in WITHOUT_BASE else [])] if start else []
    facts = {one.path: read_facts(Path(one.path)) for one in involved if one.here and Path(one.path) != start}
    return MergeInputs(section, partners, base, read_facts(start) if start else None, trained, facts)
