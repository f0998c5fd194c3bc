"""What a stage will need and take: by what was measured here where there is such a thing, else by formula."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from alphaf_orch.estimates import speed
from alphaf_orch.estimates.measured import Measured
from alphaf_orch.estimates.memory import Memory, peak_memory
from alphaf_orch.estimates.ranges import Range, exactly
from alphaf_orch.estimates.rows import Rows, counted
from alphaf_orch.estimates.shapes import Setup, Shape
from alphaf_orch.estimates.trained import Section

MIB = 2**20
BY_FORMULA = "by formula"
NEAR = 8.0  # ours: what is further off in memory or in operations is not scaled from
# The bar of docs/estimate.md: what one run measured holds for the next within it.
MEMORY_AGAIN = 0.10
MEMORY_NEAR = 0.20  # ours: the formula carries what differs, the measurement what no formula knows
MEMORY_BY_FORMULA = 0.15  # ours; on a GPU against the figures of docs/estimate.md
MEMORY_ON_CPU = 0.25  # ours: from one run to the next of other seeds 8 % were seen, of the formula 11 %
# ours: how far two runs of the same steps lie apart that share the machine with nobody
TIME_AGAIN = 0.15
TIME_NEAR = 0.5  # ours
# ours: how much longer than its mean row a micro batch of many unpacked rows is
_PADDED = 0.3


@dataclass(frozen=True)
class StageCost:
    """One stage; what is not known is None. `peak` is bytes of one GPU, on a CPU those of the process."""

    name: str
    section: str | None = None
    memory: Memory | None = None
    peak: Range | None = None
    room: int = 0  # bytes that one GPU, or the machine, has; 0 unknown
    largest_micro_batch_size: int | None = None
    rows: int | None = None
    rows_basis: str = ""
    steps: Range | None = None
    tokens: Range | None = None
    tokens_per_s: Range | None = None  # of all GPUs together
    seconds: Range | None = None
    memory_basis: str = BY_FORMULA
    time_basis: str = BY_FORMULA
    note: str = ""  # what the user should know of it beside

    @property
    def fits(self) -> bool | None:
        """Whether the likely peak is within what there is; None where one of both is not known."""
        return None if self.peak is None or not self.room else self.peak.value <= self.room

    @property
    def tight(self) -> bool:
        """Whether it fits by the likely figure and not by the high one."""
        return bool(self.fits and self.peak and self.peak.high > self.room)


@dataclass(frozen=True)
class Training:
    """A training as its cost follows from it; `accumulated` is the micro batches that a step is really made of."""

    shape: Shape
    recipe: Mapping[str, Any]
    setup: Setup
    section: Section
    card: str  # empty on a CPU
    cores: int
    rows: Rows | None = None
    steps: Range | None = None
    accumulated: int = 1
    held_out: int = 0
    evaluations: int = 0
    note: str = ""

    def memory(self) -> Memory:
        """Return the peak of one process by formula."""
        longest = self.rows.longest if self.rows else 0
        return peak_memory(self.shape, self.recipe, self.setup, self.section, longest)

    def flops_per_token(self) -> float:
        """Return the operations of one token with attention over its row."""
        length = self.rows.mean if self.rows else float(self.recipe["sequence_len"]) / 2
        return speed.flops_per_token(self.shape, self.recipe, length, preference=self.section == "dpo")

    def tokens_per_step(self) -> Range | None:
        """Return the tokens of one step on all GPUs, padding included; of pairs both sides."""
        sequences = self.setup.world * int(self.recipe["micro_batch_size"]) * self.accumulated
        length = int(self.recipe["sequence_len"])
        if self.recipe.get("sample_packing") or self.recipe.get("pad_to_sequence_len"):
            return exactly(sequences * length)
        if self.rows is None:
            return None
        mean, sides = self.rows.mean, 2 if self.section == "dpo" else 1
        micro = int(self.recipe["micro_batch_size"]) * sides
        widest = max(1.0, self.rows.longest / mean) if micro > 1 else 1.0
        padded = Range(min(widest, 1 + _PADDED * (1 - 1 / micro)), 1.0, widest)
        return padded.by(self.rows.tokens).times(mean).at_most(length).times(sequences * sides)


def training_cost(name: str, asked: Training, same: Sequence[Measured], near: Sequence[Measured]) -> StageCost:
    """Return what a training needs and takes; `same` and `near` are what was measured, the newest first."""
    memory = asked.memory()
    peak, memory_basis = _peak(asked, memory, same, near)
    per_step = asked.tokens_per_step()
    rate, time_basis = _rate(asked, same, near)
    seconds = _seconds(asked, per_step, rate, [*same, *near])
    again = [one for one in same if "step_s" in one.got]
    if again and asked.steps and asked.rows and again[0].data.get("key") == asked.rows.key:
        seconds, time_basis = _again(asked, asked.steps, again), f"measured here (run {again[0].run})"
    return StageCost(
        name,
        asked.section,
        memory,
        peak,
        asked.setup.gpu_memory,
        rows=int(asked.rows.report["rows"]) if asked.rows else None,
        rows_basis=asked.rows.basis if asked.rows else "",
        steps=asked.steps,
        tokens=asked.steps.by(per_step) if asked.steps and per_step else None,
        tokens_per_s=rate,
        seconds=seconds,
        memory_basis=memory_basis,
        time_basis=time_basis,
        note=asked.note,
    )


def training_of(one: Measured) -> Training | None:
    """Return the training that was measured, as its formula takes it; None where its line lacks something."""
    try:
        machine, engine = one.machine, str(one.strict.get("engine") or "ddp")
        recipe = {**one.strict, **one.scaled, "fsdp_config": engine != "ddp"}  # only asked whether there is one
        recipe |= {name: int(recipe[name]) for name in ("sequence_len", "micro_batch_size")}
        gpus, nodes, offload = int(machine.get("gpus", 0)), int(machine.get("nodes", 1)), bool(recipe.get("offload"))
        setup = Setup(gpus, nodes, engine=engine, offload=offload)
        rows = counted(one.data["report"], "") if "report" in one.data else None
        card, cores = str(machine.get("card", "")), int(machine.get("cores", 1))
        section: Section = "dpo" if one.stage == "dpo" else "sft"
        return Training(Shape(**one.shape), recipe, setup, section, card, cores, rows)
    except (TypeError, ValueError, KeyError):  # a line of another version
        return None


def _peak(asked: Training, memory: Memory, same: Sequence[Measured], near: Sequence[Measured]) -> tuple[Range, str]:
    """Return the peak and what it rests on: measured; moved from the nearest by what the formula missed there; formula.

    What a run records leaves out what `Memory.unseen` has; that comes to it.
    """
    found = [(float(one.got["peak_mib"]) * MIB + memory.unseen, one.run) for one in same if "peak_mib" in one.got]
    if found:
        peaks = [peak for peak, _ in found]
        newest, run = found[0]
        return Range(newest, min(peaks), max(peaks)).about(MEMORY_AGAIN), f"measured here (run {run})"
    moved = []
    for one in near:
        other = training_of(one)
        if other is None or "peak_mib" not in one.got:
            continue
        there = other.memory()
        apart = abs(math.log((memory.total or 1) / (there.total or 1)))
        missed = float(one.got["peak_mib"]) * MIB - there.recorded
        moved.append((apart, memory.total + missed, one.run))
    if moved and min(moved)[0] <= math.log(NEAR):
        _, peak, run = min(moved)
        return exactly(max(peak, 0.0)).about(MEMORY_NEAR), f"scaled from run {run}"
    return exactly(memory.total).about(MEMORY_BY_FORMULA if asked.card else MEMORY_ON_CPU), BY_FORMULA


def _rate(asked: Training, same: Sequence[Measured], near: Sequence[Measured]) -> tuple[Range | None, str]:
    """Return tokens a second of all GPUs: measured; scaled by the operations of a token; or the formula's."""
    flops, kept = asked.flops_per_token(), speed.kept_together(asked.setup)
    for one in (*same, *near):
        other = training_of(one)
        if other is None or not one.got.get("tokens_per_s"):
            continue
        # Where its rows were not counted, they are taken to be as long as those that are asked for.
        ratio = replace(other, rows=other.rows or asked.rows).flops_per_token() / flops
        if not 1 / NEAR <= ratio <= NEAR:
            continue
        kept_there = speed.kept_together(other.setup).value
        rate = exactly(float(one.got["tokens_per_s"]) * ratio * _units(asked, other) * kept.value / kept_there)
        if one in same:
            return rate.about(TIME_AGAIN), f"measured here (run {one.run}), with other data"
        return rate.about(TIME_NEAR), f"scaled from run {one.run}"
    reached = speed.reached(asked.card, asked.recipe, asked.cores)
    if reached is None:
        return None, f"no figures of a {asked.card}"
    return reached.by(kept).times(asked.setup.world / flops), BY_FORMULA


def _units(asked: Training, other: Training) -> float:
    """Return how many times what computed the other computes what is asked for: GPUs, or cores."""
    return asked.setup.world / other.setup.world if asked.card else asked.cores / other.cores


def _seconds(asked: Training, per_step: Range | None, rate: Range | None, kept: Sequence[Measured]) -> Range | None:
    """Return the time of the whole stage: its start, its steps, its evaluations."""
    if asked.steps is None or per_step is None or rate is None:
        return None
    tokens = asked.steps.by(per_step)
    steps = Range(tokens.value / rate.value, tokens.low / rate.high, tokens.high / rate.low)
    started = [one for one in kept if one.shape == asdict(asked.shape) and "start_s" in one.got]
    start = speed.start_seconds(asked.shape, gpu=bool(asked.card))
    if started:
        start = exactly(float(started[0].got["start_s"])).about(TIME_NEAR)
    return start + steps + _evaluating(asked, rate, started)


def _evaluating(asked: Training, rate: Range, kept: Sequence[Measured]) -> Range:
    """Return the time of all evaluations: a forward pass over each row held out, shared out as steps are.

    Packed rows fill what they are put in; others are padded to the longest of their batch, not to sequence_len
    (programs/training/eval_padding.py).
    """
    rows = asked.held_out * asked.evaluations
    for one in kept:
        other = training_of(one)
        if other is not None and "eval_s_per_row" in one.got:
            return exactly(rows * float(one.got["eval_s_per_row"]) / _units(asked, other)).about(TIME_NEAR)
    length = asked.rows.mean if asked.rows else float(asked.recipe["sequence_len"])
    share = 2.0 * asked.shape.parameters / asked.flops_per_token()  # of what a trained token costs
    return rate.under(rows * length * share)


def _again(asked: Training, steps: Range, same: Sequence[Measured]) -> Range:
    """Return the time by what the same steps took: within one run's spread of steps, or what several runs took."""
    means = [float(one.got["step_s"]) for one in same]
    low, high = (float(value) for value in same[0].got.get("step_s_spread", (means[0], means[0])))
    if len(means) > 1:
        low, high = min(means), max(means)
    step = Range(means[0], min(low, means[0]), max(high, means[0])).about(TIME_AGAIN)
    start = exactly(float(same[0].got.get("start_s", 0.0))).about(TIME_NEAR)
    rows = asked.held_out * asked.evaluations
    evaluating = exactly(rows * float(same[0].got.get("eval_s_per_row", 0.0))).about(TIME_NEAR)
    behind = Range(
        *(max(0.0, count - 1) for count in (steps.value, steps.low, steps.high))
    )  # the first is in the start
    return step.by(behind) + start + evaluating


def merge_cost(name: str, formula: Range, shape: Shape | None, kept: Sequence[Measured]) -> StageCost:
    """Return what a merge takes: what one took here, by the model's size, else the formula's."""
    for one in kept:
        size = one.shape.get("parameters")
        if shape is not None and size:
            found = _scaled(name, one, shape.parameters / size, again=one.shape == asdict(shape))
            if found:
                return found
    return StageCost(name, seconds=formula)


def reading_cost(
    name: str, formula: Range, shape: Shape | None, rows: Rows | None, kept: Sequence[Measured]
) -> StageCost:
    """Return what counting or tokenising rows takes: what it took here, by how many they are, else the formula's."""
    for one in kept:
        then = one.data.get("report", {}).get("rows")
        if rows is not None and then:
            ratio = speed.reading_seconds(rows.report["rows"]).value / speed.reading_seconds(then).value
            again = shape is not None and one.shape == asdict(shape) and one.data.get("key") == rows.key
            found = _scaled(name, one, ratio, again=again)
            if found:
                return found
    return StageCost(name, seconds=formula)


def _scaled(name: str, one: Measured, ratio: float, *, again: bool) -> StageCost | None:
    """Return a stage that takes `ratio` times what was measured; None where that is too far off, or not known."""
    if "seconds" not in one.got or not 1 / NEAR <= ratio <= NEAR:
        return None
    basis = f"measured here (run {one.run})" if again else f"scaled from run {one.run}"
    return StageCost(name, seconds=exactly(float(one.got["seconds"]) * ratio).about(TIME_NEAR), time_basis=basis)
