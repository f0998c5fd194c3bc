"""What the steps of the check share: where they work, what was found, the time that is left, and their commands."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths
from gpu_check import running
from gpu_check.record import Record
from gpu_check.running import Clock


class StepFailed(Exception):
    """A step did not do what it had to; the message is its log's last words."""


@dataclass
class Check:
    """What the steps share: where they work, what was found, the time that is left."""

    asked: argparse.Namespace
    machine: Machine
    record: Record
    clock: Clock
    rehearse: bool = False

    @property
    def gpus(self) -> str:
        """The GPUs that a training is told to use: one, none in a rehearsal."""
        return "0" if self.rehearse else "1"

    @property
    def matrix_product(self) -> float | None:
        """TFLOP/s of a bf16 matrix product on this card, as doctor measured it; None where it did not."""
        checks = self.record.steps.get("doctor", {}).get("checks", {}).get("checks", [])
        found = [check["values"].get("tflops") for check in checks if check["name"] == "gemm"]
        return found[0] if found else None

    def on_gpu(self, *items: str) -> list[str]:
        """Return `--set` options that only a GPU can do."""
        return [] if self.rehearse else sets(*items)

    def run_paths(self, name: str) -> RunPaths:
        """Return the run of a step."""
        return RunPaths(self.asked.work / "runs" / name)

    def log(self, name: str) -> Path:
        """Return the log of a step."""
        path: Path = self.asked.work / "logs" / f"{name}.log"
        return path

    def call(self, name: str, argv: list[str], *, limit: float = 600, until: Callable[[], bool] | None = None) -> None:
        """Run a command of a step; raise StepFailed with what its log says where it fails."""
        code = running.run(argv, self.clock, self.log(name), limit=limit, until=until)
        if code:
            raise StepFailed(f"exit code {code}\n{running.last_words(self.log(name))}")

    def told(self, name: str, argv: list[str], *, limit: float = 600) -> tuple[int, Any]:
        """Return a command's exit code and the JSON object that it printed, None where there is none."""
        log = self.log(name)
        log.unlink(missing_ok=True)
        code = running.run(argv, self.clock, log, limit=limit)
        text = log.read_text(encoding="utf-8", errors="replace")
        try:
            return code, json.JSONDecoder().raw_decode(text, text.index("{"))[0]
        except ValueError:
            return code, None

    def model(self, layers: int | None) -> Path:
        """Return the folder of a random model of EEVE's shape, built where it is not there yet."""
        folder: Path = self.asked.work / "models" / f"eeve-{layers or 'all'}-layers"
        if not folder.is_dir():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            argv = [sys.executable, "-m", "gpu_check.random_model", "--output", str(partial)]
            argv += ["--layers", str(layers)] if layers else ["--layers", "6"] if self.rehearse else []
            self.call(f"model-{layers or 'all'}", argv + ["--small"] * self.rehearse, limit=240)
            partial.rename(folder)
        return folder

    def remove(self, folder: Path) -> None:
        """Remove a model or run of this check: two of full size do not fit on a small disk."""
        shutil.rmtree(folder, ignore_errors=True)


def sets(*items: str) -> list[str]:
    """Return `--set` for each item."""
    return [word for item in items for word in ("--set", item)]
