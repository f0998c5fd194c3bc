"""What a finished stage took is kept on this machine, for the estimates of later runs."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.record import read_json
from alphaf_orch.estimates.measured import keep_measured, measured_file
from alphaf_orch.estimates.rows import counted, counts
from alphaf_orch.planning.circumstances import circumstances, data_key, machine_facts, processor, used_gpus, used_nodes
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import Stage, stage_name

_KINDS = ("data", "tokenise", "train", "merge")
_FEW = 4  # steps with a time of their own; of fewer there is no spread


def remember(plan: Plan, stage: Stage, entry: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Keep what a finished stage took; a cache that cannot be written is said and stops no run."""
    if stage.kind not in _KINDS or not entry.get("seconds"):
        return
    report = read_json(plan.paths.report(stage_name("data", stage.section))) if stage.section else None
    rows = counted(report, "") if report else None
    machine, gpus = plan.resolved.machine, used_gpus(plan, stage)
    card = machine.gpus[0] if gpus and machine.gpus else ""
    facts = machine_facts(card, gpus if card else 0, used_nodes(plan, stage), processor(), machine.cpus)
    found = circumstances(plan, stage, facts, entry["versions"], rows.longest if rows else 0)
    got: dict[str, Any] = {"seconds": entry["seconds"], "process_mib": entry["peak_memory_mib"]}
    data: dict[str, Any] = {}
    if rows and stage.section and stage.kind in ("data", "tokenise", "train"):  # what rows decide
        sizes = [source.size for source in plan.sources.get(stage.section, ())]
        data = {"key": data_key(plan, stage.section), "report": counts(rows.report)}
        data |= {"preference": stage.section == "dpo"}
        data |= {"bytes": sum(size or 0 for size in sizes)} if sizes and all(sizes) else {}
    if stage.kind == "train":
        begun = datetime.fromisoformat(entry["started"]).timestamp()
        lines = [line for line in read_metrics(plan.paths.metrics(stage.name)) if line.get("time", 0) >= begun]
        got |= training_figures(lines, float(entry["seconds"]))
    try:
        keep_measured(replace(found, at=entry["ended"], got=got, data=data))
    except OSError as error:
        say(f"note: {measured_file()} cannot be written ({error.strerror}): estimates will not know of this stage")


def training_figures(lines: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Return peak, tokens per second, seconds of a step and of an evaluated row, and what is left of `seconds`.

    `lines` are those that the metrics callback wrote in this try. The first step is part of what is left, the start,
    for it compiles.
    """
    peaks = [float(line["peak_memory_mib"]) for line in lines if line.get("peak_memory_mib")]
    found: dict[str, Any] = {"peak_mib": round(max(peaks), 1)} if peaks else {}
    steps: list[float] = []
    tokens: list[float] = []
    done = 0
    for before, line in itertools.pairwise(lines):
        passed = int(line.get("step", 0)) - int(before.get("step", 0))
        if "loss" in line and passed > 0:
            done += passed
            if before.get("step", 0) > 0:
                steps += [(line["time"] - before["time"]) / passed] * passed
                tokens += [line["tokens_per_s"]] if line.get("tokens_per_s") else []
    evaluated = [
        (line["eval_runtime"], line["eval_runtime"] * line["eval_samples_per_second"])
        for line in lines
        if line.get("eval_runtime") and line.get("eval_samples_per_second")
    ]
    if tokens:
        found["tokens_per_s"] = round(statistics.median(tokens), 2)
    if len(steps) >= _FEW:
        mean, cuts = statistics.fmean(steps), statistics.quantiles(steps, n=10)
        evaluating = sum(runtime for runtime, _ in evaluated)
        found |= {
            "steps": done,
            "step_s": round(mean, 4),
            "step_s_spread": [round(cuts[0], 4), round(cuts[-1], 4)],
            "start_s": round(max(0.0, seconds - mean * len(steps) - evaluating), 1),
        }
    if evaluated:
        rows = sum(count for _, count in evaluated)
        found["eval_s_per_row"] = round(sum(runtime for runtime, _ in evaluated) / rows, 4)
    return found
