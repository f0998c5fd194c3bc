"""What a run is expected to need and take, as lines, tables and JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from alphaf_orch.core.disk import size
from alphaf_orch.core.shown import Table, show_line
from alphaf_orch.estimates.cost import StageCost
from alphaf_orch.estimates.ranges import Range, total_if_known
from alphaf_orch.planning.forecast import Forecast

_PARTS = {
    "weights": "weights",
    "adapter": "adapter",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "logits": "logits and loss",
    "reference": "DPO's reference pass",
    "buffers": "buffers",
    "overhead": "beside them (libraries, context, fragments)",
}


def short_lines(found: Forecast) -> list[str]:
    """Return a line for each training still to run, and one for the whole."""
    said = [(cost.name, (_memory(cost), _time(cost), _bases(cost))) for cost in found.trainings]
    lines = [f"{name}: {'; '.join(part for part in parts if part)}" for name, parts in said]
    notes = [f"{cost.name}: {cost.note}" for cost in found.trainings if cost.note]
    whole = f"in all: {_sum(found.seconds, found.gpu_hours, found.gpus, _assumed(found))}"
    return [*lines, *notes, whole] if found.stages else []


def amounts(cost: StageCost) -> tuple[str, str, str, str]:
    """Return the rows, steps, time and memory of a stage, each in a word or two; empty for what is not known."""
    rows = f"{cost.rows:,}" if cost.rows is not None else ""
    steps = _count(cost.steps.value) if cost.steps else ""
    seconds = duration(cost.seconds.value) if cost.seconds else ""
    peak = size(round(cost.peak.value)) if cost.peak else ""
    room = f" of {size(cost.room)}" if peak and cost.room else ""
    return rows, steps, seconds, f"{peak}{room}{'' if cost.fits in (None, True) else ', does NOT fit'}"


def time_and_hours(found: Forecast) -> str:
    """Return how long all stages take, in a word or two."""
    return duration(found.seconds.value) if found.seconds else "not known"


def arms_lines(found: Mapping[str, Forecast]) -> list[str]:
    """Return what all arms take together, without evaluations, and of each what does not fit or is worth knowing."""
    each = list(found.values())
    seconds = total_if_known(forecast.seconds for forecast in each)
    hours = total_if_known(forecast.gpu_hours for forecast in each)
    disk = sum(forecast.disk_bytes for forecast in each)
    widest = max(each, key=lambda forecast: forecast.gpus, default=None)
    gpus, on = (widest.gpus, _assumed(widest)) if widest else (0, "")
    what = "1 run" if len(each) == 1 else f"{len(each)} runs"
    lines = [
        f"{name}: {cost.name}: {_memory(cost)}"
        for name, forecast in found.items()
        for cost in forecast.trainings
        if cost.fits is False
    ]
    notes = [
        f"{name}: {cost.name}: {cost.note}"
        for name, forecast in found.items()
        for cost in forecast.trainings
        if cost.note
    ]
    return [
        *lines,
        *notes,
        f"{what}, one after another, without evaluations: {_sum(seconds, hours, gpus, on)}, disk about {size(disk)}",
    ]


def estimate_json(found: Forecast, rate: float | None = None) -> dict[str, Any]:
    """Return the forecast as values: bytes, seconds, GPU-hours, each range as value, low and high."""
    hours = found.gpu_hours
    return {
        "run": found.run,
        "hardware": asdict(found.hardware),
        "gpus": found.gpus,
        "stages": [
            {
                **asdict(cost),
                "memory_total": cost.memory.total if cost.memory else None,
                "memory_recorded": cost.memory.recorded if cost.memory else None,  # as peak_memory_mib has it, in bytes
                "fits": cost.fits,
            }
            for cost in found.stages
        ],
        "disk_bytes": found.disk_bytes,
        "seconds": asdict(found.seconds) if found.seconds else None,
        "gpu_hours": asdict(hours) if hours else None,
        "price": asdict(hours.times(rate)) if hours and rate is not None else None,
    }


def print_estimate(console: Console, found: Forecast, engine: str = "", rate: float | None = None) -> None:
    """Print each stage's amount and time, each training's memory by part, and the sum."""
    show_line(console, _on(found))
    if engine:
        show_line(console, f"engine: {engine}")
    table = Table("stage", "rows", "steps", "tokens", "time", "known from")
    for cost in found.stages:
        table.add_row(
            cost.name,
            f"{cost.rows:,}" if cost.rows is not None else "",
            _ranged(cost.steps, _count),
            _ranged(cost.tokens, _count),
            _ranged(cost.seconds, duration) or "not known",
            cost.time_basis,
        )
    console.print(table)
    _print_memory(console, found.trainings)
    for cost in found.trainings:
        for line in _about(cost):
            show_line(console, line)
    show_line(console, f"disk: about {size(found.disk_bytes)}")
    show_line(console, f"in all: {_sum(found.seconds, found.gpu_hours, found.gpus)}")
    if rate is not None:
        price = found.gpu_hours.times(rate) if found.gpu_hours else None
        show_line(console, f"price: {_ranged(price, _money) or 'not known'} at {rate:g} a GPU-hour")


def _on(found: Forecast) -> str:
    on = found.hardware
    if not found.gpus:
        return f"run {found.run} on {on.cores} cores of {on.cpu or 'this processor'}, {size(on.ram)} of memory"
    if on.assumed:
        return f"run {found.run} on {found.gpus} x {on.card} (assumed: none is here), {size(on.gpu_memory)} each"
    return f"run {found.run} on {found.gpus} x {on.card}, {size(on.gpu_memory)} each"


def _assumed(found: Forecast) -> str:
    """Return what GPUs are meant where these are not the ones here; empty where they are, or on a CPU."""
    return f"{found.gpus} x {found.hardware.card}" if found.hardware.assumed else ""


def _print_memory(console: Console, trainings: Sequence[StageCost]) -> None:
    known = [cost for cost in trainings if cost.memory and cost.peak]
    if not known:
        return
    on = ("the process" if cost.largest_micro_batch_size is None else "one GPU" for cost in known)
    of = " or ".join(dict.fromkeys(on))
    table = Table(f"memory of {of}, by formula", *(cost.name for cost in known))
    for part, title in _PARTS.items():
        cells = [_part(cost, part) for cost in known]
        if any(cells):
            table.add_row(title, *cells)
    table.add_row("sum", *(size(cost.memory.total) for cost in known if cost.memory), end_section=True)
    table.add_row("peak", *(_ranged(cost.peak, _bytes) for cost in known))
    table.add_row("known from", *(cost.memory_basis for cost in known))
    console.print(table)


def _part(cost: StageCost, part: str) -> str:
    """Return a part's size; DPO's reference pass is over before the peak, and is said to be."""
    value = getattr(cost.memory, part)
    return size(value) if value else "not at the peak" if (part, cost.section) == ("reference", "dpo") else ""


def _about(cost: StageCost) -> list[str]:
    """Return whether a training fits, what else would, and where its rows and tokens are known from."""
    lines = [f"{cost.name}: {_memory(cost)}, {cost.memory_basis}"]
    largest = cost.largest_micro_batch_size
    if largest is not None:
        most = f"the largest micro_batch_size that fits is {largest}" if largest else "no micro_batch_size fits"
        lines[0] += f"; {most}"
    lines.append(f"{cost.name}: {cost.rows_basis}" if cost.rows_basis else f"{cost.name}: its rows are not known yet")
    return [*lines, f"{cost.name}: {cost.note}"] if cost.note else lines


def _memory(cost: StageCost) -> str:
    if cost.peak is None:
        return "memory not known (the model's shape is not)"
    shown = f"{_ranged(cost.peak, _bytes)} of {size(cost.room)}" if cost.room else _ranged(cost.peak, _bytes)
    if cost.fits is None:
        return shown
    return f"{shown}, tight" if cost.tight else f"{shown}, fits" if cost.fits else f"{shown}, does NOT fit"


def _time(cost: StageCost) -> str:
    if cost.seconds is None:
        return "time not known" + ("" if cost.rows else ": its rows are not known yet")
    return _ranged(cost.seconds, duration)


def _bases(cost: StageCost) -> str:
    """Return what memory and time are known from."""
    if cost.memory_basis == cost.time_basis or cost.seconds is None:
        return cost.memory_basis
    return f"memory {cost.memory_basis}, time {cost.time_basis}"


def _sum(seconds: Range | None, hours: Range | None, gpus: int, assumed: str = "") -> str:
    """Return the time and the GPU-hours, with the GPUs that are assumed."""
    text = _ranged(seconds, duration) or "time not known"
    if not gpus or not hours:
        return f"{text}, on {assumed} (assumed: none is here)" if assumed else text
    gpu_hours = _ranged(hours, _hours)
    if assumed:
        return f"{text}, {gpu_hours} GPU-hours on {assumed} (assumed: none is here)"
    return f"{text}, {gpu_hours} GPU-hours"


def duration(seconds: float) -> str:
    """Return seconds as people say them: `50 s`, `12 min`, `3.2 h`, `2.4 days`."""
    for limit, unit, word in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {word}" if word == "h" else f"{seconds / unit:.0f} {word}"
    return f"{seconds / 86400:.1f} days"


def _ranged(found: Range | None, shown: Callable[[float], str]) -> str:
    """Return a value with its interval, without one where it is known exactly; empty for none."""
    if found is None:
        return ""
    value, low, high = shown(found.value), shown(found.low), shown(found.high)
    return value if low == high else f"{value} ({low} to {high})"


def _bytes(value: float) -> str:
    return size(round(value))


def _count(value: float) -> str:
    return f"{value / 1e6:,.1f}M" if value >= 1e7 else f"{value:,.0f}"


def _hours(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _money(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
