"""What a planned run will need and take, stage by stage: memory, steps, tokens, time, disk, GPU-hours."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.record import read_json, read_manifest
from alphaf_orch.estimates import speed
from alphaf_orch.estimates.cost import StageCost, Training, merge_cost, reading_cost, training_cost
from alphaf_orch.estimates.fit import largest_micro_batch_size
from alphaf_orch.estimates.measured import Facts, Measured, matches, read_measured
from alphaf_orch.estimates.ranges import Range, exactly, total_if_known
from alphaf_orch.estimates.rows import Rows, counted, guessed, remembered
from alphaf_orch.estimates.shapes import H100_BYTES, Setup, shape_of
from alphaf_orch.planning.amount import micro_batches, planned_steps, rows_held_out
from alphaf_orch.planning.circumstances import (
    circumstances,
    data_key,
    engine_of,
    evaluates,
    installed_versions,
    machine_facts,
    processor,
    used_gpus,
    used_nodes,
)
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import SECTIONS, Section, Stage, stage_name


@dataclass(frozen=True)
class Hardware:
    """On what a run is estimated: a card with its bytes, or the processor; `assumed` where no such card is here."""

    card: str
    gpu_memory: int
    cpu: str
    cores: int
    ram: int
    assumed: bool = False

    def facts(self, gpus: int, nodes: int) -> Facts:
        """Return the machine as measurements are known by: a card and how many, or the processor and its cores."""
        return machine_facts(self.card, gpus, nodes, self.cpu, self.cores)


@dataclass(frozen=True)
class Forecast:
    """The stages still to run with what each takes; `gpus` are held for the whole time."""

    run: str
    hardware: Hardware
    stages: tuple[StageCost, ...]
    gpus: int
    disk_bytes: int

    @property
    def trainings(self) -> tuple[StageCost, ...]:
        """The stages that train."""
        return tuple(stage for stage in self.stages if stage.section)

    @property
    def seconds(self) -> Range | None:
        """The time of all stages; None where that of one is not known."""
        return total_if_known(stage.seconds for stage in self.stages)

    @property
    def gpu_hours(self) -> Range | None:
        """GPUs held times hours; whoever rents a machine pays for all of it while one stage uses a part."""
        return self.seconds.times(self.gpus / 3600) if self.seconds else None


def card_bytes(gpu_memory: float) -> int:
    """Return the bytes of a card's memory in GB as vendors count it: an H100 of 80 has 79.6 GiB."""
    return round(gpu_memory * H100_BYTES / 80)


def card_room(card: str) -> int:
    """Return the bytes of a card's memory, 0 where neither a data sheet nor its name tells them."""
    return card_bytes(speed.card_gigabytes(card) or 0)


def hardware(machine: Machine, gpus: int, *, card: str = "", gpu_memory: int = 0) -> Hardware:
    """Return what a run on that many GPUs is estimated on: what is said, what is here, else the article's card."""
    name = (card or next(iter(machine.gpus), speed.ARTICLE_CARD)) if gpus else ""
    here = name in machine.gpus
    room = gpu_memory or (machine.memory if here else 0) or card_room(name) or H100_BYTES
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(name, room, processor(), machine.cpus, ram, assumed=bool(gpus) and not here)


def forecast(plan: Plan, on: Hardware, done: Collection[str] = (), kept: Sequence[Measured] | None = None) -> Forecast:
    """Return what the stages that are not `done` will need and take; reads the run's reports and what was measured."""
    kept = read_measured() if kept is None else kept
    left = [stage for stage in plan.stages if stage.name not in done and stage.kind != "prepare"]
    rows = {section: known_rows(plan, section, kept) for section in SECTIONS if section in {s.section for s in left}}
    found = [_cost(plan, stage, on, kept, rows[stage.section] if stage.section else None) for stage in left]
    held = max(plan.gpus[section] * plan.resolved.nodes(section) for section in SECTIONS)
    return Forecast(plan.paths.full_name, on, tuple(found), held, plan.disk_bytes)


def known_rows(plan: Plan, section: Section, kept: Sequence[Measured]) -> Rows | None:
    """Return the rows of a training: as this run counted them, as another one did, or guessed; None where unknown."""
    key, shape = data_key(plan, section), plan.preset.architecture
    report = _report(plan, section)
    found = counted(report, "counted by this run") if report else None
    found = found or (remembered(key, kept) if key else None)
    if found is None and shape is not None:
        recipe = _recipe(plan, section)
        preference = section == "dpo"
        sources = plan.sources.get(section) or ()
        length = int(recipe.get("sequence_len") or plan.preset.sequence_len)
        found = guessed(sources, length, shape.vocab_size, kept, preference=preference)
    return replace(found, key=key) if found else None


def _report(plan: Plan, section: Section) -> Mapping[str, Any] | None:
    """Return what this run counted of the rows that are planned; None where it counted none, or others."""
    name = stage_name("data", section)
    stage = next((stage for stage in plan.stages if stage.name == name), None)
    entry = read_manifest(plan.paths.manifest)["stages"].get(name)
    if stage is None or entry is None or (entry.get("state"), entry.get("fingerprint")) != ("done", stage.fingerprint):
        return None
    return read_json(plan.paths.report(name))


def _recipe(plan: Plan, section: Section) -> Mapping[str, Any]:
    own = next((s.own_file for s in plan.stages if s.kind == "train" and s.section == section), None)
    return own.values if own else {}


def _cost(plan: Plan, stage: Stage, on: Hardware, kept: Sequence[Measured], rows: Rows | None) -> StageCost:
    architecture = plan.preset.architecture
    shape = shape_of(architecture) if architecture else None
    gpus = plan.gpus[stage.section or "sft"]
    machine = on.facts(used_gpus(plan, stage), used_nodes(plan, stage))
    longest = rows.longest if rows else 0
    asked = circumstances(plan, stage, machine, installed_versions(stage.argv[0]), longest)
    same, near = matches(asked, kept)
    if stage.kind == "merge":
        return merge_cost(stage.name, _formula(stage, shape, rows, gpu=gpus > 0), shape, [*same, *near])
    if stage.kind != "train":
        return reading_cost(stage.name, _formula(stage, shape, rows, gpu=gpus > 0), shape, rows, [*same, *near])
    if shape is None:
        return StageCost(stage.name, stage.section, memory_basis="", time_basis="the model's shape is not known")
    training = _training(plan, stage, on, rows, gpus)
    found = training_cost(stage.name, training, same, near)
    if not gpus:
        return replace(found, room=on.ram)
    missed = found.peak.value - found.memory.total if found.peak and found.memory else 0.0
    largest = largest_micro_batch_size(
        shape, training.recipe, training.setup, training.section, rows.longest if rows else 0, missed
    )
    return replace(found, largest_micro_batch_size=largest)


def _formula(stage: Stage, shape: Any, rows: Rows | None, *, gpu: bool) -> Range:
    if stage.kind == "merge" and shape is not None:
        return speed.merge_seconds(shape, gpu=gpu)
    return speed.reading_seconds(int(rows.report["rows"]) if rows else 1000)


def _training(plan: Plan, stage: Stage, on: Hardware, rows: Rows | None, gpus: int) -> Training:
    assert stage.own_file is not None and stage.section is not None and plan.preset.architecture is not None
    recipe = stage.own_file.values
    name, offload = engine_of(plan, stage)
    room, nodes = on.gpu_memory if gpus else on.ram, plan.resolved.nodes(stage.section)
    setup = Setup(gpus, nodes, room, name, offload)
    accumulation = int(recipe["gradient_accumulation_steps"])
    steps = _steps(rows, recipe, setup.world, stage.section)
    asked = Training(
        shape_of(plan.preset.architecture),
        recipe,
        setup,
        stage.section,
        on.card if gpus else "",
        on.cores,
        rows,
        steps,
        accumulation,
    )
    if rows is None:
        return asked
    per_rank = micro_batches(rows.report, recipe, setup.world)
    if per_rank == 0:
        note = f"these data give {setup.world} rank(s) not one step"
        return replace(asked, steps=exactly(0), note=note)
    held_out = rows_held_out(rows.report, recipe)
    evaluations = 0
    if steps and evaluates(recipe):
        # Before the first step, every eval_steps, and behind the last one (counted in runs on a CPU).
        evaluations = 1 + math.ceil(steps.value / float(recipe.get("eval_steps") or steps.value))
    return replace(asked, accumulated=min(accumulation, per_rank), held_out=max(0, held_out), evaluations=evaluations)


def _steps(rows: Rows | None, recipe: Mapping[str, Any], ranks: int, section: Section) -> Range | None:
    most = recipe.get("max_steps")
    if most is not None and most > 0:
        return exactly(int(most))
    if rows is None:
        return None
    steps = exactly(planned_steps(rows.report, recipe, ranks, section))
    # Of guessed tokens the sequences that they pack into are as uncertain, rows are not.
    return steps.by(rows.tokens) if recipe.get("sample_packing") else steps
