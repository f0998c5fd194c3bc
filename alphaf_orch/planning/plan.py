"""Settings in, stages out: everything a run would do, rendered and ready, with nothing launched or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.command import PROGRAM_ENV, child_env, program
from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.inputs import chat_templates, data, sources
from alphaf_orch.inputs import presets as models
from alphaf_orch.planning.base import find_base, find_preset
from alphaf_orch.planning.context import Context
from alphaf_orch.planning.dpo import dpo_stages
from alphaf_orch.planning.merge import MergePlan, plan_merge
from alphaf_orch.planning.sft import sft_stages, trained_template
from alphaf_orch.planning.stages import MERGE_MODELS, SECTIONS, Section, Stage, stage_name
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.keys import check_section
from alphaf_orch.settings.merge import read_settings
from alphaf_orch.settings.trackers import check_trackers


@dataclass(frozen=True)
class Plan:
    """The stages of one run in order, with the settings they were made from."""

    paths: RunPaths
    config: RunConfig
    preset: models.ModelPreset
    stages: tuple[Stage, ...]
    sources: Mapping[Section, tuple[sources.Source, ...]]
    gpus: Mapping[Section, int]
    disk_bytes: int
    merge: MergePlan | None = None


@dataclass(frozen=True)
class Scope:
    """Which half is planned, and what may be missing: a dry run needs no weights, no data sets of the hub."""

    sections: tuple[Section, ...] = SECTIONS
    online: bool = False
    dry: bool = False
    upstream: str = ""  # the recorded fingerprint of what is started from, where DPO or the merge alone is planned
    merge: bool = False  # whether whole models are merged at the end, if the settings name a partner
    merge_alone: Section | None = None  # the section whose finished model is merged, where nothing else is planned
    place: RunPaths | None = None  # where the merge's result goes, if not into the run


def make_plan(config: RunConfig, machine: Machine, root: Path, scope: Scope) -> Plan:
    """Return the plan of a run; reads settings, templates and data, writes and starts nothing.

    Raises the error of the first thing that could not work: unknown model or key, bad data, missing weights or
    hub data (unless dry), a batch that cannot be cut up.
    """
    refuse_credentials(config.model_dump(exclude_defaults=True), "the config")
    check_section("sft", config.sft, "the config")
    check_section("dpo", config.dpo, "the config")
    check_trackers(config.trackers, "the config")
    if config.merge and not scope.merge_alone:
        read_settings(config.merge, {}, "the config")
    preset = find_preset(config)
    models.require_trust(preset, trust_remote_code=config.trust_remote_code)
    gpus = _gpus(config, preset, machine)
    config = config.model_copy(update={"gpus": gpus["sft"], "dpo_gpus": gpus["dpo"]})
    # Dry runs read hub data sets as if they could be fetched: nothing is.
    env = child_env({}, online=scope.online or scope.dry)
    found: tuple[Stage, ...] = ()
    checked: dict[Section, tuple[sources.Source, ...]] = {"sft": (), "dpo": ()}
    upstream = scope.upstream
    context = Context(config, preset, machine, RunPaths(root), template_folders(config.templates), env, gpus)
    fetched: tuple[Stage, ...] = ()
    if "dpo" in scope.sections:
        checked["dpo"] = data.check_sources(config.dpo_data or (preset.dpo_data,), "preference", env)
    if "sft" in scope.sections:
        if not config.datasets:
            checked["sft"] = data.check_sources(config.data or (preset.sft_data,), "chat", env)
        base = find_base(config, preset, online=scope.online, need_weights=not scope.dry, read=not scope.dry)
        if base.identity:
            config = config.model_copy(update={"base_revision": base.identity})
        template = trained_template(context, base)
        # SFT may take days: what its successor refuses is refused now.
        chat_templates.refuse_systems(template, checked["dpo"])
        found = sft_stages(context, base, template, checked["sft"], checked["dpo"])
        upstream = found[-1].fingerprint
    elif "dpo" in scope.sections and context.model_dir("sft").is_dir():
        chat_templates.refuse_systems(chat_templates.template_of({}, context.model_dir("sft")), checked["dpo"])
    if "dpo" in scope.sections:
        found += dpo_stages(context, checked["dpo"], upstream)
    if scope.online and not scope.dry:
        for section in scope.sections:
            fetched += _fetch_stage(context, section, checked[section])
    merge = _merge(context, scope, found)
    if merge:
        fetched, found = fetched + merge.fetch, (*found, merge.stage)
    found = fetched + found
    disk = _disk_bytes(context, found, scope.place or context.paths)
    return Plan(context.paths, config, preset, found, checked, gpus, disk, merge)


def _merge(context: Context, scope: Scope, found: tuple[Stage, ...]) -> MergePlan | None:
    """Return the merge behind the planned stages, or of a finished model; None where none is asked for."""
    config = context.config
    if not scope.merge or not (config.merge.get("partner") or scope.merge_alone):
        return None
    settings = read_settings(config.merge, context.preset.merge, "the config")
    section = scope.merge_alone or settings.stage or scope.sections[-1]
    merged = stage_name("merge", section)
    upstream = next((stage.fingerprint for stage in found if stage.name == merged), scope.upstream)
    return plan_merge(context, settings, section, upstream, online=scope.online, dry=scope.dry, place=scope.place)


def _fetch_stage(context: Context, section: Section, checked: tuple[sources.Source, ...]) -> tuple[Stage, ...]:
    """Return the stage that brings the section's data sets from the hub, or none where all are here."""
    missing = [source.path for source in checked if source.kind == "hub" and source.snapshot is None]
    if not missing:
        return ()
    argv = program(context.python, "models.fetch_model", "--repo-type", "dataset")
    for repo in missing:
        argv += ("--repo", repo)
    name = stage_name("prepare", section)
    return (Stage(name, "axolotl", argv, {}, (), {"repos": missing}, PROGRAM_ENV, online=True),)


def _gpus(config: RunConfig, preset: models.ModelPreset, machine: Machine) -> dict[Section, int]:
    auto = min(1, len(machine.gpus))
    sft = config.gpus if config.gpus is not None else auto if preset.gpus == "auto" else preset.gpus
    return {"sft": sft, "dpo": config.dpo_gpus if config.dpo_gpus is not None else min(1, sft)}


def _disk_bytes(context: Context, found: tuple[Stage, ...], place: RunPaths) -> int:
    """Return the estimate of what the planned training stages and merges write."""
    recipe = {stage.name: stage.own_file.values for stage in found if stage.kind == "train" and stage.own_file}
    # What we build or convert is float32, so its merges are too.
    width = 2 if context.preset.source in ("hub", "local") else 4
    shape, merges = context.preset.architecture, any(stage.name == MERGE_MODELS for stage in found)
    merged = width * shape.parameters if shape and merges else 0
    if not recipe:
        # Only the merge: beside what was written there already.
        return merged + sum(path.lstat().st_size for path in place.root.rglob("*") if path.is_file())
    return merged + models.estimated_bytes(
        context.preset,
        adapter=None if context.adapter == "full" else context.adapter,
        lora_r=int(recipe.get("sft", {}).get("lora_r") or 0),
        dpo_lora_r=int(recipe.get("dpo", {}).get("lora_r") or 0),
        bytes_per_parameter=width,
        save_total_limit=max((int(values["save_total_limit"]) for values in recipe.values()), default=0),
    )
