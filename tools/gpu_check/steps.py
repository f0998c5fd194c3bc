"""The steps of the check, in the order in which they are worth most: what comes first is kept if the time ends."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.runs import checkpoints
from gpu_check import figures, running
from gpu_check.compared import compared, reached
from gpu_check.page import write_page
from gpu_check.record import Record
from gpu_check.running import Clock, OutOfTime, alphaf
from gpu_check.switches import switches, train_switched

KERNELS = ("lora_mlp_kernel=true", "lora_qkv_kernel=true", "lora_o_kernel=true", "bf16=true", "tf32=true")
PACKED = ("sample_packing=true", "pad_to_sequence_len=true")
# One micro batch a step: what is measured is a micro batch, and ten steps of eight of them would take the time of all.
SHORT = ("gradient_accumulation_steps=1", "max_steps=10")


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
    env: Mapping[str, str] = field(default_factory=dict)

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
        code = running.run(argv, self.clock, self.log(name), limit=limit, env=dict(self.env), until=until)
        if code:
            raise StepFailed(f"exit code {code}\n{running.last_words(self.log(name))}")

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


@dataclass(frozen=True)
class Step:
    """One step: what it shows, the seconds that it took on an H100 or is thought to take, and what it does."""

    name: str
    title: str
    seconds: int
    run: Callable[[Check], dict[str, Any]]


def sets(*items: str) -> list[str]:
    """Return `--set` for each item."""
    return [word for item in items for word in ("--set", item)]


def doctor(check: Check) -> dict[str, Any]:
    """Look at the machine as `alphaf run` does; a failed line is told and does not end the check."""
    log = check.log("doctor")
    code = running.run(alphaf("doctor", "--json"), check.clock, log, limit=120, env=dict(check.env))
    text = log.read_text(encoding="utf-8")
    try:
        return {"exit_code": code, "checks": json.loads(text[text.index("{") :])}
    except ValueError:
        raise StepFailed(f"exit code {code}\n{running.last_words(log)}") from None


def chain(check: Check) -> dict[str, Any]:
    """Run the tiny model's whole chain: bf16, fused kernels, packed rows, unsloth, both merges."""
    run = check.run_paths("chain")
    argv = alphaf("run", "--model", "tiny", "--gpus", check.gpus, "--run", run.name)
    argv += check.on_gpu(*KERNELS, *PACKED, "dpo.bf16=true", "dpo.backend=unsloth")
    check.call("chain", argv)
    return {"stages": figures.stages(run)}


def resume(check: Check) -> dict[str, Any]:
    """Stop a training behind its first checkpoint, as a scheduler does, and go on with the same command."""
    run = check.run_paths("resume")
    argv = alphaf("sft", "--model", "tiny", "--gpus", check.gpus, "--run", run.name)
    argv += sets("max_steps=400", "save_steps=20") + check.on_gpu(*KERNELS)
    check.call("resume", argv, until=lambda: checkpoints.seen(run.adapter("sft")) is not None)
    stopped = checkpoints.seen(run.adapter("sft"))
    if stopped is None:
        raise StepFailed("the training ended before it was stopped: nothing was resumed")
    check.call("resume", argv)
    said = [word for word in read_manifest(run.manifest)["stages"]["sft"]["argv"] if "resume_from" in word]
    return {"stopped_at": stopped.name, "resumed": said, "stages": figures.stages(run)}


def eeve_sft(check: Check, layers: int | None, *, merged: bool) -> dict[str, Any]:
    """Train EEVE's shape for ten steps, QLoRA r=256, packed sequences of 4096; compare with what was estimated."""
    name = f"eeve-{layers or 'all'}"
    folder, run = check.model(layers), check.run_paths(name)
    options = ["--model", str(folder), "--gpus", check.gpus, *sets(*SHORT)]
    options += sets("lora_r=8", "sequence_len=256") if check.rehearse else []
    estimate = estimated(check, name, options)

    def trained() -> bool:
        return bool(read_manifest(run.manifest)["stages"].get("sft", {}).get("state") == "done")

    argv = alphaf("sft", *options, "--run", run.name)
    check.call(name, argv, until=None if merged else trained)
    if not trained():
        raise StepFailed(running.last_words(check.log(name)))
    found: dict[str, Any] = {
        "stages": figures.stages(run),
        "compared": compared(estimate, figures.training(run, "sft")),
    }
    speed = figures.training(run, "sft").get("tokens_per_s")
    if speed:
        card = check.machine.gpus[0] if check.machine.gpus else ""
        found["reached"] = reached(folder, run.rendered("sft.yaml"), card, speed, check.matrix_product)
    return found if found["compared"] else {**found, "estimate": estimate}


def estimated(check: Check, name: str, options: list[str]) -> Any:
    """Return what `alphaf estimate` says beforehand, or why it says nothing."""
    log = check.log(f"{name}-estimate")
    log.unlink(missing_ok=True)
    code = running.run(alphaf("estimate", "--json", *options), check.clock, log, limit=60, env=dict(check.env))
    text = log.read_text(encoding="utf-8")
    return json.loads(text[text.index("{") :]) if not code else {"error": running.last_words(log)}


def few_layers(check: Check) -> dict[str, Any]:
    """Train and merge EEVE's shape with 8 layers."""
    return eeve_sft(check, 2 if check.rehearse else 8, merged=True)


def all_layers(check: Check) -> dict[str, Any]:
    """Train EEVE's shape with all its layers; its merge takes minutes and is that of 8 layers, six times."""
    found = eeve_sft(check, None, merged=False)
    check.remove(check.run_paths("eeve-all").root)
    check.remove(check.asked.work / "models" / "eeve-all-layers")
    return found


def kernel_switches(check: Check) -> dict[str, Any]:
    """Train the 8 layers again with one key changed at a time: what each attention and kernel costs or saves."""
    layers = 2 if check.rehearse else 8
    folder, base = check.model(layers), check.run_paths(f"eeve-{layers}")
    found = []
    for items in switches(rehearse=check.rehearse):
        if check.clock.left < 60:
            found.append({"set": list(items), "state": "skipped", "why": "the time had ended"})
            continue
        found.append(train_switched(check, folder, base, items))
        check.record.note("switches", "running", switches=found)
    return {"switches": found}


def dpo_twice(check: Check) -> dict[str, Any]:
    """Train preferences on the merged 8 layers by unsloth and by plain TRL, the same settings."""
    layers = 2 if check.rehearse else 8
    source = check.run_paths(f"eeve-{layers}")
    if not source.merged("sft").is_dir():
        raise StepFailed("the 8 layers were not merged: there is nothing to train preferences on")
    found = {}
    for backend in ("transformers",) if check.rehearse else ("unsloth", "transformers"):
        run = check.run_paths(f"dpo-{backend}")
        if not run.root.is_dir():
            shutil.copytree(source.root, run.root)
        argv = alphaf("dpo", "--run", run.name, "--gpus", check.gpus, "--data", "sample")
        argv += sets("gradient_accumulation_steps=1", "max_steps=8", f"backend={backend}")
        check.call(f"dpo-{backend}", argv)
        found[backend] = figures.stages(run)
        check.remove(run.root)
    return {"backends": found}


STEPS = (
    Step("doctor", "the machine", 40, doctor),
    Step("chain", "the tiny chain: bf16, fused kernels, packed rows, unsloth", 200, chain),
    Step("resume", "a training stopped and gone on with", 120, resume),
    Step("few_layers", "EEVE's shape, 8 layers: QLoRA r=256, 10 steps, merged", 180, few_layers),
    Step("all_layers", "EEVE's shape, all 48 layers: QLoRA r=256, 10 steps", 260, all_layers),
    Step("switches", "attention and kernels, one key at a time", 60, kernel_switches),
    Step("dpo", "DPO by unsloth and by plain TRL", 180, dpo_twice),
)


TITLES = {step.name: step.title for step in STEPS}


def run_all(asked: argparse.Namespace) -> int:
    """Return 0 where no step failed; run what earlier calls left, and write the page after each step."""
    check = begin(asked)
    if not (check.machine.gpus or check.rehearse):
        print("error: there is no GPU here\n  where: NVML\n  next:  run it on a machine with one", file=sys.stderr)
        return 5
    signal.signal(signal.SIGTERM, _stopped)
    page = asked.work if check.rehearse else asked.output
    for step in STEPS:
        if (asked.only and step.name not in asked.only) or check.record.finished(step.name):
            continue
        if check.clock.left < step.seconds and not check.rehearse:
            check.record.note(step.name, "not begun", why=f"{check.clock.left:.0f} s were left of about {step.seconds}")
            continue
        run_step(check, step)
        write_page(check.record, TITLES, page)
    write_page(check.record, TITLES, page)
    states = {name: entry["state"] for name, entry in check.record.steps.items()}
    print(f"gpu-check: {', '.join(f'{name} {state}' for name, state in states.items())}", flush=True)
    return 1 if "failed" in states.values() else 0


STEPS_TITLES = {step.name: step.title for step in STEPS}


def _stopped(*_: object) -> None:
    """End what is running and write the page: a machine that is taken back says so by SIGTERM."""
    raise OutOfTime("stopped by SIGTERM")


def begin(asked: argparse.Namespace) -> Check:
    """Return the check: its record read, the machine looked at, the environment of every command."""
    machine = detect_machine()
    record = Record.read(asked.work / "state.json")
    record.machine = {
        **record.machine,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cards": list(machine.gpus),
        "cpu_cores": machine.cpus,
        "python": platform.python_version(),
    }
    env = {"ALPHAF_RUNS": str(asked.work / "runs"), "ALPHAF_CACHE": str(asked.work / "cache")}
    if not os.environ.get("HF_HOME"):
        env["HF_HOME"] = str(asked.work / "hf")
    return Check(asked, machine, record, Clock.of(asked.budget), asked.rehearse, env)


def run_step(check: Check, step: Step) -> None:
    """Run one step and note what came of it; time that ends and commands that fail are facts like others."""
    print(f"gpu-check: {step.title} …", flush=True)
    check.record.note(step.name, "running")
    begun = time.monotonic()

    def seconds() -> float:
        return round(time.monotonic() - begun, 1)

    try:
        facts = step.run(check)
    except OutOfTime as cut:
        # What a step of several trainings had found by then is kept.
        kept = {key: value for key, value in check.record.steps[step.name].items() if key != "state"}
        check.record.note(step.name, "cut off", **kept, why=str(cut))
    except StepFailed as failure:
        check.record.note(step.name, "failed", seconds=seconds(), why=str(failure))
    except Exception as fault:  # noqa: BLE001 - a fault of one step must not cost the steps behind it
        traceback.print_exc()
        check.record.note(step.name, "failed", seconds=seconds(), why=f"{type(fault).__name__}: {fault}")
    else:
        check.record.note(step.name, "done", seconds=seconds(), **facts)
    print(f"gpu-check: {step.name} {check.record.steps[step.name]['state']} after {seconds():.0f} s", flush=True)
