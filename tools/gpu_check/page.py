"""The record as a page for people and as the JSON beside it: whatever was found, however early the check ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpu_check.record import Record

Facts = Mapping[str, Any]


def write_page(record: Record, titles: Mapping[str, str], folder: Path) -> None:
    """Write gpu-verification.md and gpu-verification.json into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu-verification.md").write_text(page(record, titles), encoding="utf-8")
    text = json.dumps(record.as_json(), ensure_ascii=False, indent=1) + "\n"
    (folder / "gpu-verification.json").write_text(text, encoding="utf-8")


def page(record: Record, titles: Mapping[str, str]) -> str:
    """Return the page: the machine, what became of each step, then what each step found."""
    machine = record.machine
    lines = [
        "# Verification on a GPU",
        "",
        f"Written by `make gpu-check` on {machine.get('date')}. The weights are random: the figures are of speed,",
        "memory and of what the tools do, not of quality. Raw figures: [gpu-verification.json](gpu-verification.json).",
        "",
        *(f"- {key.replace('_', ' ')}: {_value(machine[key])}" for key in machine if key != "date"),
        "",
        "## What ran",
        "",
        *_table(
            ("step", "state", "s", "note"),
            (_outcome(record.steps.get(name, {}), title) for name, title in titles.items()),
        ),
    ]
    for name, title in titles.items():
        facts = record.steps.get(name, {})
        found = [*_checks(facts), *_stages(facts), *_estimate(facts), *_switches(facts), *_backends(facts)]
        if found:
            lines += ["", f"## {title[:1].upper()}{title[1:]}", "", *found]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    cells = [
        tuple("" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows
    ]
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *cells)]


def _outcome(facts: Facts, title: str) -> tuple[Any, ...]:
    note = facts.get("why") or ""
    resumed = facts.get("resumed")
    if resumed:
        note = f"stopped at {facts['stopped_at']}, went on from {Path(resumed[0]).name}"
    return title, facts.get("state", "not reached"), facts.get("seconds"), note.splitlines()[-1] if note else ""


def _checks(facts: Facts) -> list[str]:
    checks = (facts.get("checks") or {}).get("checks", [])
    return (
        _table(("check", "state", "evidence"), ((c.get("name"), c.get("state"), c.get("evidence")) for c in checks))
        if checks
        else []
    )


def _stage_rows(stages: Iterable[Facts]) -> list[str]:
    head = ("stage", "state", "s", "GPU memory, MiB", "host memory, MiB", "tokens/s", "result")
    return _table(head, ((
        s.get("stage"), s.get("state"), s.get("seconds"), s.get("peak_gpu_memory_mib"), s.get("peak_host_memory_mib"),
        s.get("tokens_per_s"), s.get("error") or s.get("contract") or _losses(s),
    ) for s in stages))  # fmt: skip


def _losses(facts: Facts) -> str:
    losses = facts.get("loss")
    return f"loss {losses[0]} → {losses[-1]} in {facts['steps']} steps" if losses else ""


def _stages(facts: Facts) -> list[str]:
    return _stage_rows(facts["stages"]) if facts.get("stages") else []


def _estimate(facts: Facts) -> list[str]:
    rows = [(c["what"], c["estimated"], c["measured"], f"{c['off']:+.0%}") for c in facts.get("compared", [])]
    found = ["", *_table(("", "estimated", "measured", "off"), rows)] if rows else []
    speed = facts.get("reached")
    if speed:
        shares = {"of_data_sheet": "of the card's data sheet", "of_matrix_product": "of a bf16 matrix product there"}
        told = [f"{speed[key]:.0%} {words}" for key, words in shares.items() if key in speed]
        found += ["", f"{speed['tflops']} TFLOP/s, recomputation included{''.join(f', {text}' for text in told)}."]
    return found


def _switches(facts: Facts) -> list[str]:
    head = ("changed", "state", "tokens/s", "GPU memory, MiB", "loss of the last step", "note")
    rows = ((
        " ".join(s["set"]) or "nothing", s["state"], s.get("tokens_per_s"), s.get("peak_gpu_memory_mib"),
        (s.get("loss") or [None])[-1], (s.get("why") or "").partition("\n")[0],
    ) for s in facts.get("switches", []))  # fmt: skip
    return _table(head, rows) if facts.get("switches") else []


def _backends(facts: Facts) -> list[str]:
    found: list[str] = []
    for name, stages in facts.get("backends", {}).items():
        found += [f"{name}:", "", *_stage_rows(stages), ""]
    return found[:-1]
