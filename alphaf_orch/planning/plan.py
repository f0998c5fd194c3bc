"""From a resolved run to its stages, rendered and ready: pure, with nothing launched, written or read but templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.inputs import chat_templates, sources
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.planning.context import Resolved, Scope
from alphaf_orch.planning.disk import disk_needs
from alphaf_orch.planning.dpo import dpo_stages
from alphaf_orch.planning.engines import Engine
from alphaf_orch.planning.merge import MergePlan, plan_merge
from alphaf_orch.planning.resolve import resolve
from alphaf_orch.planning.sft import sft_stages
from alphaf_orch.planning.stages import SECTIONS, Section, Stage, stage_name
from alphaf_orch.settings.config import RunConfig


@dataclass(frozen=True)
class Plan:
    """The stages of one run in order, with what they were made from."""

    paths: RunPaths
    resolved: Resolved
    stages: tuple[Stage, ...]
    disk: Mapping[str, int]  # bytes that each stage needs, by its name
    merge: MergePlan | None = None

    @property
    def disk_bytes(self) -> int:
        """The bytes that all stages need together, the cache of base models aside: an upper estimate."""
        return sum(self.disk.get(stage.name, 0) for stage in self.stages if stage.kind != "prepare")

    @property
    def prepares(self) -> bool:
        """Whether it makes or fetches what all runs share: behind that a plan is made anew."""
        return any(stage.kind == "prepare" for stage in self.stages)

    @property
    def config(self) -> RunConfig:
        """The settings as the run keeps them."""
        return self.resolved.remembered

    @property
    def preset(self) -> ModelPreset:
        """The base model's preset."""
        return self.resolved.preset

    @property
    def sources(self) -> Mapping[Section, tuple[sources.Source, ...]]:
        """The checked data of each training."""
        return self.resolved.data

    @property
    def engine(self) -> Engine:
        """How the GPUs of SFT train together, and why so."""
        return self.resolved.engine

    @property
    def gpus(self) -> Mapping[Section, int]:
        """How many devices each training gets."""
        return self.resolved.gpus


def make_plan(config: RunConfig, machine: Machine, root: Path, scope: Scope) -> Plan:
    """Return the plan of a run, read and made in one; raises what `resolve` and `plan_run` do."""
    return plan_run(resolve(config, machine, root, scope))


def plan_run(resolved: Resolved, place: RunPaths | None = None) -> Plan:
    """Return the plan of a run; a merge leaves its result in `place`, the run unless it is said.

    Raises the error of the first thing that could not work: rows that the chat template refuses, a batch that cannot
    be cut up, models that cannot be merged.
    """
    scope, upstream = resolved.scope, resolved.scope.upstream
    # SFT may take days: what its successor refuses is refused now.
    for section in reversed(SECTIONS):
        chat_templates.refuse_systems(resolved.template, resolved.data[section])
    found: tuple[Stage, ...] = ()
    if "sft" in scope.sections:
        found = sft_stages(resolved)
        upstream = found[-1].fingerprint
    if "dpo" in scope.sections:
        found += dpo_stages(resolved, upstream)
    fetched: tuple[Stage, ...] = ()
    if scope.online and not scope.dry:
        fetched = tuple(stage for section in scope.sections for stage in _fetch_stage(resolved, section))
    merge = _merge(resolved, found, place or resolved.paths)
    if merge:
        fetched, found = fetched + merge.fetch, (*found, merge.stage)
    found = fetched + found
    return Plan(place or resolved.paths, resolved, found, disk_needs(resolved, found), merge)


def _merge(resolved: Resolved, found: tuple[Stage, ...], place: RunPaths) -> MergePlan | None:
    """Return the merge behind the planned stages, or of a finished model; None where none is asked for."""
    if resolved.merge is None:
        return None
    own = stage_name("merge", resolved.merge.section)
    upstream = next((stage.fingerprint for stage in found if stage.name == own), resolved.scope.upstream)
    return plan_merge(resolved, upstream, place)


def _fetch_stage(resolved: Resolved, section: Section) -> tuple[Stage, ...]:
    """Return the stage that brings the section's data sets from the hub, or none where all are here."""
    data = resolved.data[section]
    missing = [sources.at_revision(source) for source in data if source.kind == "hub" and source.snapshot is None]
    if not missing:
        return ()
    argv = program(resolved.python(), "models.fetch_model", "--repo-type", "dataset")
    for repo in missing:
        argv += ("--repo", repo)
    name = stage_name("prepare", section)
    return (Stage(name, "axolotl", argv, {}, (), {"repos": missing}, PROGRAM_ENV, online=True),)
