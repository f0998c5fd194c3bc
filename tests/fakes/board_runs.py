"""Runs for a board: one that is being trained by this very process, step by step, and folders of many."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import report_runs

from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import now, read_manifest, write_manifest


def stages(**found: dict[str, Any]) -> dict[str, Any]:
    """Return the stages of a manifest, each as far as it is said here."""
    whole = {**report_runs.STAGE, "cleaned": ["sft", "sft/merged", "probes/data.jsonl", "dpo", "dpo/merged"]}
    return {name: {**whole, **entry} for name, entry in found.items()}


def begun(name: str = "학습-하나", **more: Any) -> RunPaths:
    """Write a run whose data are counted and whose SFT has begun."""
    running = {"state": "running", "started": now(), "ended": None, "seconds": None, "result": None, **more}
    running = {key: value for key, value in running.items() if value is not None}
    paths = report_runs.make_run(runs_dir() / name, stages=stages(data={}, sft=running), created=now())
    paths.metrics("sft").unlink()
    return paths


@contextlib.contextmanager
def trained(paths: RunPaths) -> Iterator[None]:
    """Work on a run meanwhile, as `alphaf` does."""
    with held(paths.lock, f"the run {paths.name}"):
        yield


def step(paths: RunPaths, number: int, of: int = 20, stage: str = "sft", **figures: float) -> None:
    """Have a trainer log a step."""
    row = {"time": time.time(), "step": number, "max_steps": of, "loss": 2.0 - number / of, "tokens_per_s": 1234.5}
    with paths.metrics(stage).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | figures) + "\n")


def say(paths: RunPaths, text: str, stage: str = "sft") -> None:
    """Have a tool print something."""
    paths.log(stage).parent.mkdir(exist_ok=True)
    with paths.log(stage).open("a", encoding="utf-8") as file:
        file.write(text)


def ends(paths: RunPaths, stage: str = "sft", **entry: Any) -> None:
    """Record how a stage ended."""
    manifest = read_manifest(paths.manifest)
    manifest["stages"][stage] |= {"state": "done", "ended": now(), "seconds": 3.0, "result": {}, **entry}
    write_manifest(paths.manifest, manifest)


def many(count: int) -> None:
    """Fill the folder with runs of the same files; whatever is written anew is a file of its own."""
    first = report_runs.make_run(runs_dir() / "run-000")
    first.html_report.write_text("<p>report", "utf-8")
    for number in range(1, count):
        shutil.copytree(first.root, runs_dir() / f"run-{number:03}", copy_function=os.link)


def experiment(name: str, arms: dict[str, str]) -> Path:
    """Write the record of an ablation."""
    root = runs_dir() / name
    root.mkdir(parents=True)
    told = [
        {"name": arm, "variant": arm, "values": {}, "seed": 1, "model": "m", "state": how, "exit_code": 0, "error": ""}
        for arm, how in arms.items()
    ]  # fmt: skip
    record = {"format": 1, "name": name, "kind": "ablation", "created": now(), "request": {}, "asked": [*arms]}
    (root / "experiment.json").write_text(json.dumps(record | {"arms": told}), "utf-8")
    return root
