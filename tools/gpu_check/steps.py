"""The steps of the check, in the order in which they are worth most: what comes first is kept if the time ends."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alphaf_orch.core.hardware import detect_machine
from alphaf_orch.core.record import read_manifest
from alphaf_orch.runs import checkpoints
from gpu_check import figures, running
from gpu_check.check import Check, StepFailed, sets
from gpu_check.compared import compared, reached
from gpu_check.page import write_page
from gpu_check.record import Record
from gpu_check.running import Clock, OutOfTime, alphaf
from gpu_check.switches import switches, train_switched

KERNELS = ("lora_mlp_kernel=true", "lora_qkv_kernel=true", "lora_o_kernel=true", "bf16=true", "tf32=true")
PACKED = ("sample_packing=true", "pad_to_sequence_len=true")
# One micro batch a step: what is measured is a micro batch, and ten steps of eight of them would take the time of all.
SHORT = ("gradient_accumulation_steps=1", "max_steps=10")


@dataclass(frozen=True)
class Step:
    """One step: what it shows, the seconds that it took on an H100 or is thought to take, and what it does."""

    name: str
    title: str
    seconds: int
    run: Callable[[Check], dict[str, Any]]


def doctor(check: Check) -> dict[str, Any]:
    """Look at the machine as `alphaf run` does; a failed line is told and does not end the check."""
    code, found = check.told("doctor", alphaf("doctor", "--json"))
    if found is None:
        raise StepFailed(f"exit code {code}\n{running.last_words(check.log('doctor'))}")
    return {"exit_code": code, "checks": found}


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
    if not said:
        raise StepFailed("the second call began anew or did nothing: its training went on from no checkpoint")
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
    log = f"{name}-estimate"
    code, found = check.told(log, alphaf("estimate", "--json", *options), limit=60)
    return {"error": running.last_words(check.log(log))} if code or found is None else found


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
    # An earlier call that was cut off has some.
    found = list(check.record.found("switches").get("switches", []))
    for items in switches(rehearse=check.rehearse):
        if list(items) in [tried["set"] for tried in found]:
            continue
        if check.clock.left < 60:
            raise OutOfTime(check.clock.stopped or f"{check.clock.left:.0f} s were left, a switch takes about 60")
        found.append(train_switched(check, folder, base, items))
        check.record.note("switches", "running", switches=found)
    if all(tried["state"] == "failed" for tried in found):
        first = found[0]["why"].partition("\n")[0]
        raise StepFailed(f"none of the {len(found)} trainings ended well; the first: {first}")
    return {"switches": found}


def dpo_twice(check: Check) -> dict[str, Any]:
    """Train preferences on the merged 8 layers by unsloth and by plain TRL, the same settings."""
    layers = 2 if check.rehearse else 8
    source = check.run_paths(f"eeve-{layers}")
    if not source.merged("sft").is_dir():
        raise StepFailed("the 8 layers were not merged: there is nothing to train preferences on")
    found = dict(check.record.found("dpo").get("backends", {}))
    for backend in ("transformers",) if check.rehearse else ("unsloth", "transformers"):
        if backend in found:
            continue
        run = check.run_paths(f"dpo-{backend}")
        if not run.root.is_dir():
            shutil.copytree(source.root, run.root)
        argv = alphaf("dpo", "--run", run.name, "--gpus", check.gpus, "--data", "sample")
        argv += sets("gradient_accumulation_steps=1", "max_steps=8", f"backend={backend}")
        check.call(f"dpo-{backend}", argv)
        found[backend] = figures.stages(run)
        check.record.note("dpo", "running", backends=found)
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
    # A machine that is taken back says so by SIGTERM: what runs is ended, the page is written, nothing is begun.
    signal.signal(signal.SIGTERM, lambda *_: check.clock.stop("stopped by SIGTERM"))
    page = asked.work if check.rehearse else asked.output
    for step in STEPS:
        if (asked.only and step.name not in asked.only) or check.record.finished(step.name):
            continue
        if check.clock.left < (0 if check.rehearse else step.seconds):
            why = check.clock.stopped or f"{max(0, check.clock.left):.0f} s were left of about {step.seconds}"
            check.record.note(step.name, "not begun", **check.record.found(step.name), why=why)
            continue
        run_step(check, step)
        write_page(check.record, TITLES, page)
    write_page(check.record, TITLES, page)
    states = {name: entry["state"] for name, entry in check.record.steps.items()}
    print(f"gpu-check: {', '.join(f'{name} {state}' for name, state in states.items())}", flush=True)
    return 1 if "failed" in states.values() else 0


def begin(asked: argparse.Namespace) -> Check:
    """Return the check: its record read, the machine looked at, and all that it does kept within `--work`."""
    machine = detect_machine()
    record = Record.read(asked.work / "state.json")
    record.machine = {
        **record.machine,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cards": list(machine.gpus),
        "cpu_cores": machine.cpus,
        "python": platform.python_version(),
    }
    # Of this process itself, and so of every command: plans are made in both.
    os.environ["ALPHAF_RUNS"], os.environ["ALPHAF_CACHE"] = str(asked.work / "runs"), str(asked.work / "cache")
    if not os.environ.get("HF_HOME"):
        os.environ["HF_HOME"] = str(asked.work / "hf")
    return Check(asked, machine, record, Clock.of(asked.budget), asked.rehearse)


def run_step(check: Check, step: Step) -> None:
    """Run one step and note what came of it; time that ends and commands that fail are facts like others."""
    print(f"gpu-check: {step.title} …", flush=True)
    # What a step of several trainings had found before it was cut off is kept, however it ends now.
    check.record.note(step.name, "running", **check.record.found(step.name))
    begun = time.monotonic()

    def seconds() -> float:
        return round(time.monotonic() - begun, 1)

    def failed(why: str) -> None:
        check.record.note(step.name, "failed", **check.record.found(step.name), seconds=seconds(), why=why)

    try:
        facts = step.run(check)
    except OutOfTime as cut:
        check.record.note(step.name, "cut off", **check.record.found(step.name), why=str(cut))
    except StepFailed as failure:
        failed(str(failure))
    except Exception as fault:  # noqa: BLE001 - a fault of one step must not cost the steps behind it
        traceback.print_exc()
        failed(f"{type(fault).__name__}: {fault}")
    else:
        check.record.note(step.name, "done", seconds=seconds(), **facts)
    print(f"gpu-check: {step.name} {check.record.steps[step.name]['state']} after {seconds():.0f} s", flush=True)
