"""All that is read from the disk for a plan, read once: presets, data, base model, merge partners, chat template."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import child_env
from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.nodes import Node, seat
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.several import found_in, raise_all
from alphaf_orch.core.yaml_files import place_of
from alphaf_orch.inputs import hub_cache, presets, sources
from alphaf_orch.inputs.chat_templates import ChatTemplate, template_of
from alphaf_orch.inputs.data_sets import check_sources
from alphaf_orch.inputs.executable import refuse_pickled_data
from alphaf_orch.inputs.formats import Reading
from alphaf_orch.planning import recipes
from alphaf_orch.planning.base import BaseModelRef, find_base, find_preset, tool_python
from alphaf_orch.planning.context import Resolved, Scope, engine_laid, recipe_layers
from alphaf_orch.planning.engine_choice import choose
from alphaf_orch.planning.engines import DDP
from alphaf_orch.planning.merge_inputs import MergeInputs, base_as_merged, read_inputs
from alphaf_orch.planning.merge_partners import MergeModel, find_merge_model
from alphaf_orch.planning.sft import sft_recipe
from alphaf_orch.planning.stages import Section
from alphaf_orch.programs.rows import Kind
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.keys import check_key, check_section, known_keys
from alphaf_orch.settings.merge import MergeSettings, read_settings
from alphaf_orch.settings.plugins import named_in
from alphaf_orch.settings.trackers import check_trackers


def resolve(config: RunConfig, machine: Machine, root: Path, scope: Scope) -> Resolved:
    """Return the run with everything settled that the disk decides.

    Starts nothing but what reads tables and sets of the hub, and writes only into the cache: what is known of large
    files, and canonical rows. Raises the error of the first thing that could not
    work: a key that is none, unknown model, bad data, missing weights or hub data (unless dry).
    """
    _check_said(config, scope)
    preset = find_preset(config)
    _check_preset(config, preset)
    presets.require_trust(preset, trust_remote_code=config.trust_remote_code)
    # Dry runs read hub data sets as if they could be fetched: nothing is.
    env = child_env({}, online=scope.online or scope.dry)
    checked = _data(config, preset, scope, env)
    settings = _merge_settings(config, preset, scope)
    resolved = Resolved(
        config=config,
        scope=scope,
        machine=machine,
        paths=RunPaths(root),
        folders=template_folders(config.templates),
        preset=preset,
        gpus=_gpus(config, preset, machine, scope),
        node=seat(config.nodes, os.environ).node if config.nodes > 1 else Node(),
        remote_code=presets.remote_code(preset, allowed=config.trust_remote_code),
        base=_base(config, preset, scope, settings),
        data=checked,
        content=_content(config, checked["sft"], scope, env),
    )
    resolved = replace(
        resolved,
        template=_template(resolved, env),
        merge=_merge(resolved, settings, env) if settings else None,
    )
    return with_engine(resolved) if "sft" in scope.sections else resolved


def with_engine(resolved: Resolved) -> Resolved:
    """Return a run of SFT with its engine and what that adds to the recipe, read once: templates, a file of yours."""
    base, plain = resolved.base, replace(resolved, engine=DDP)
    assert base is not None
    plain = replace(plain, laid=engine_laid(plain))
    found = replace(plain, engine=choose(plain, lambda: sft_recipe(plain, base, "")))
    return replace(found, laid=engine_laid(found))


def _check_said(config: RunConfig, scope: Scope) -> None:
    """Raise ConfigError for a setting that means nothing, whatever is on the disk."""
    said = config.model_dump(exclude_defaults=True)
    refuse_credentials(said, "the config")
    refuse_pickled_data(said, "the config")
    check_section("sft", config.sft, "the config")
    check_section("dpo", config.dpo, "the config")
    check_trackers(config.trackers, "the config")
    if config.merge and not scope.merge_alone:
        read_settings(config.merge, {}, "the config")


def _check_preset(config: RunConfig, preset: presets.ModelPreset) -> None:
    """Raise ConfigError for a recipe key of a model preset that is unknown, or whose value is not taken."""
    file = presets.file_of(preset, tuple(folder / "models" for folder in template_folders(config.templates)))
    named = (*named_in(preset.sft.get("plugins")), *named_in(config.sft.get("plugins")))
    check_section("sft", preset.sft, file, named)
    check_section("dpo", preset.dpo, file)
    if preset.name == file.stem:  # that of a model of one's own is read from its folder
        check_key("chat_template", preset.chat_template, known_keys("sft"), place_of(file, ("chat_template",)))


def _gpus(config: RunConfig, preset: presets.ModelPreset, machine: Machine, scope: Scope) -> dict[Section, int]:
    auto = min(1, len(machine.gpus))
    sft = config.gpus if config.gpus is not None else auto if preset.gpus == "auto" else preset.gpus
    if config.nodes > 1 and not sft and "sft" in scope.sections:
        raise ConfigError(
            f"a training on {config.nodes} machines needs GPUs: on a CPU axolotl trains in one process",
            where="--nodes and --gpus, or `nodes` and `gpus` of the config",
            fix="say --gpus N, the GPUs of each machine; or --nodes 1",
            code="config.needs_gpu",
        )
    return {"sft": sft, "dpo": config.dpo_gpus if config.dpo_gpus is not None else min(1, sft)}


def _data(
    config: RunConfig, preset: presets.ModelPreset, scope: Scope, env: Mapping[str, str]
) -> dict[Section, tuple[sources.Source, ...]]:
    found: dict[Section, tuple[sources.Source, ...]] = {"sft": (), "dpo": ()}
    how = Reading(
        tool_python(config, "axolotl"), {str(name): column for name, column in config.columns.items()}, config.normalize
    )

    def read(section: Section, names: tuple[str, ...], kind: Kind) -> None:
        found[section] = check_sources(names, kind, env, how)

    reads = []
    if "sft" in scope.sections and not config.datasets:
        reads.append(partial(read, "sft", config.data or (preset.sft_data,), "chat"))
    if "dpo" in scope.sections:
        reads.append(partial(read, "dpo", config.dpo_data or (preset.dpo_data,), "preference"))
    raise_all(found_in(reads))  # what is wrong with both, in one go
    return found


def _content(
    config: RunConfig, checked: tuple[sources.Source, ...], scope: Scope, env: Mapping[str, str]
) -> tuple[Any, ...]:
    if "sft" in scope.sections and config.datasets:
        return tuple(sources.entry_key(entry, env) for entry in config.datasets)
    return tuple(sources.content_key(source) for source in checked)


def _base(
    config: RunConfig, preset: presets.ModelPreset, scope: Scope, settings: MergeSettings | None
) -> BaseModelRef | None:
    """Return the base model where SFT begins with it or the merge is measured from it."""
    trains = "sft" in scope.sections
    if not trains and (settings is None or settings.base):
        return None
    need = not scope.dry and (trains or not scope.online)
    return find_base(config, preset, online=scope.online, need_weights=need, read=not scope.dry)


def _template(resolved: Resolved, env: Mapping[str, str]) -> ChatTemplate | None:
    """Return the chat template that SFT trains with, or of an SFT model that is there the one in its tokenizer."""
    if "sft" not in resolved.scope.sections:
        model = resolved.model_dir("sft")
        return template_of({}, model) if "dpo" in resolved.scope.sections and model.is_dir() else None
    preset, base = resolved.preset, resolved.base
    assert base is not None
    settings = recipes.chat_settings(preset, recipe_layers(resolved, "sft"))
    folder: Path | None = Path(base.name)
    if not Path(base.name).is_dir():
        folder = hub_cache.snapshot(base.name, "model", base.revision, env) if preset.source == "hub" else None
    return template_of(settings, folder)


def _merge_settings(config: RunConfig, preset: presets.ModelPreset, scope: Scope) -> MergeSettings | None:
    """Return what is said of the merge of whole models; None where none is asked for."""
    if not scope.merge or not (config.merge.get("partner") or scope.merge_alone):
        return None
    return read_settings(config.merge, preset.merge, "the config")


def _merge(resolved: Resolved, settings: MergeSettings, env: Mapping[str, str]) -> MergeInputs:
    config, scope = resolved.config, resolved.scope

    def found(name: str) -> MergeModel:
        return find_merge_model(
            name,
            resolved.folders,
            env,
            need_weights=not (scope.dry or scope.online),
            trust_remote_code=config.trust_remote_code,
            read=not scope.dry or config.base_revision is not None,  # of a run that is there it is asked what changed
        )

    partners = tuple(found(name) for name in settings.partner)
    if settings.base:
        base = found(settings.base)
    else:
        assert resolved.base is not None
        base = base_as_merged(resolved.base, resolved.preset, env)
    section = scope.merge_alone or settings.stage or scope.sections[-1]
    return read_inputs(settings, section, resolved.model_dir(section), partners, base)
