"""What is to be said of driver, cards and torch, from what NVML and torch told: two counts that may differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.cards import Card, Cards
from alphaf_orch.core.disk import size
from alphaf_orch.core.errors import HardwareError, ToolError
from alphaf_orch.core.hardware import Machine, visible_devices
from alphaf_orch.runs.machine.checks import Check, State

# The oldest driver on which programs of a CUDA major run: NVIDIA, CUDA Compatibility, "Minor Version Compatibility",
# table 1 (docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, read in November 2026).
# requirements/gpu.lock has torch 2.13 with cuda-toolkit 13.0, so it is 580 there.
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
_UPDATE = "install a newer NVIDIA driver"
_HIDDEN = "look at CUDA_VISIBLE_DEVICES, and at the container's --gpus all"
# What the CUDA runtime says, and what mostly mends it; the numbers are those of `cudaError`.
_SAID = (
    (r"driver on your system is too old|driver version is insufficient", f"{_UPDATE}, or a torch for this one"),
    # NVSwitch machines, H100 SXM among them: pytorch/pytorch#35710.
    (r"system not yet initialized|error 802", "start the fabric manager: systemctl start nvidia-fabricmanager"),
    (r"driver/library|mismatch|error 803", "restart the machine: the old driver is still loaded"),
    (r"forward compatibility|error 804", "take cuda-compat off LD_LIBRARY_PATH: this card does not go with it"),
    (r"busy or unavailable|error 46\b", "another process has the card for itself (nvidia-smi -q -d COMPUTE)"),
    (r"no kernel image", "this torch was built for other cards; install one for this compute capability"),
    (r"no CUDA-capable device|No CUDA GPUs", _HIDDEN),
    (r"no NVIDIA driver", "install the driver, or start the container with --gpus all (nvidia-container-toolkit)"),
    (r"unknown error|error 999", "load the module nvidia_uvm (nvidia-modprobe -u), or restart the machine"),
    (r"out of memory", "end what else uses the card (nvidia-smi)"),
)  # fmt: skip
_ASK = "`alphaf doctor` shows both; compare `nvidia-smi -L` with torch.cuda.device_count()"
_NO_DRIVER = "install the driver (`nvidia-smi` must list the card), or start the container with --gpus all"
_CPU_BUILD = ": it is built for the CPU alone"
_GPU_BUILD = "install the GPU environment there: make setup ACCEL=gpu (or pip install 'alphaf-orch[gpu]')"
_MIG = "CUDA gives a process one slice of a card: train on one GPU, or nvidia-smi -mig 0"
_UTILITY = "give the container NVIDIA_DRIVER_CAPABILITIES=compute,utility: alphaf counts GPUs by libnvidia-ml.so.1"
_FULL = 0.05  # ours: a card that shows more of its memory in use is somebody else's too


def judge_driver(cards: Cards, view: Mapping[str, Any], where: str) -> Check:
    """Return whether the driver serves the CUDA of torch's build; torch that computes on it has the last word."""
    cuda = view["cuda"]
    if cards.driver is None:
        evidence = f"NVML: {cards.problem}"
        if not on_the_bus():
            return Check(name="driver", state="skipped", evidence=evidence, subject=where)
        evidence += "; but an NVIDIA card is on the PCI bus"
        return Check(name="driver", state="warn", evidence=evidence, fix=_NO_DRIVER, subject=where)
    if cuda is None:
        evidence = f"driver {cards.driver}, CUDA {cards.cuda}; torch {view['torch']} is built without CUDA"
        return Check(name="driver", state="skipped", evidence=evidence, subject=where)
    evidence = f"driver {cards.driver} serves CUDA {cards.cuda}; torch {view['torch']} is built with CUDA {cuda}"
    values = {"driver": cards.driver, "driver_cuda": cards.cuda, "torch_cuda": cuda}
    major = int(str(cuda).partition(".")[0])
    oldest = OLDEST_DRIVER.get(major)
    old = int(cards.driver.partition(".")[0]) < oldest if oldest else int(str(cards.cuda).partition(".")[0]) < major
    if not old:
        return Check(name="driver", state="ok", evidence=evidence, subject=where, values=values)
    wants = f", which wants a driver >= {oldest}" if oldest else ", and the driver serves an older one"
    works = bool(view["devices"]) and not any(device["error"] for device in view["devices"])
    return Check(
        name="driver",
        state="warn" if works else "fail",
        evidence=evidence + wants + (" (it works all the same: a cuda-compat package)" if works else ""),
        fix=f"{_UPDATE} (>= {oldest or cuda}), or a torch built for CUDA {cards.cuda} into that environment",
        subject=where,
        values=values,
    )


def on_the_bus(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Return whether the machine has an NVIDIA graphics or compute card, whatever its driver says."""
    for vendor in devices.glob("*/vendor"):
        kind = vendor.with_name("class")
        # 0x10de is NVIDIA; class 0x03 is a display controller, 3D ones without a screen included (PCI code list).
        if vendor.read_text(encoding="ascii").strip() == "0x10de" and kind.read_text(encoding="ascii")[:4] == "0x03":
            return True
    return False


def judge_devices(cards: Cards, machine: Machine, view: Mapping[str, Any], where: str, wanted: int = 0) -> Check:
    """Return whether torch sees and can use the GPUs that NVML lists under CUDA_VISIBLE_DEVICES, at least `wanted`."""
    seen, listed = view["devices"], len(machine.gpus)
    visible = visible_devices()
    said = "" if visible is None else f", CUDA_VISIBLE_DEVICES={visible!r}"
    counts = f"NVML lists {listed} GPU{'' if listed == 1 else 's'}{said}, torch {view['torch']} sees {len(seen)}"
    state, why, fix = _devices(cards, machine, view, wanted)
    return Check(
        name="torch_gpus",
        state=state,
        evidence=counts + why,
        fix=fix,
        subject=where,
        error=ToolError if fix == _GPU_BUILD else HardwareError,
        values={"nvml": listed, "torch": len(seen), "torch_error": view["error"], "devices": seen},
    )


def gpu_names(cards: Cards, machine: Machine, count: int = 0) -> list[str]:
    """Return what the devices are called that torch numbers from 0: `GPU` and their number by NVML and nvidia-smi.

    At least `count` of them; one that NVML does not list keeps the number that it has by torch.
    """
    found = [f"GPU {_number(cards, device) or place}" for place, device in enumerate(machine.devices)]
    return [*found, *(f"GPU {place}" for place in range(len(found), count))]


def _number(cards: Cards, device: str) -> str:
    """Return a device's number by NVML; of an id, which may be shortened, that of its card, empty for a slice's."""
    found = (str(number) for number, card in enumerate(cards.cards) if card.uuid.startswith(device))
    return str(int(device)) if device.isdecimal() else next(found, "")


def _devices(cards: Cards, machine: Machine, view: Mapping[str, Any], wanted: int) -> tuple[State, str, str]:
    """Return the state, what there is to add to the two counts, and what to do."""
    seen, listed = view["devices"], len(machine.gpus)
    no_gpu = not listed and not wanted
    if view["cuda"] is None and view["hip"] is None:
        return ("skipped", ": it is built for the CPU", "") if no_gpu else ("fail", _CPU_BUILD, _GPU_BUILD)
    if view["error"]:
        return ("skipped" if no_gpu else "fail", f": {view['error']}", "" if no_gpu else fix_for(view["error"]))
    names = gpu_names(cards, machine, len(seen))
    broken = [f"{name}: {device['error']}" for name, device in zip(names, seen, strict=False) if device["error"]]
    if broken:
        return "fail", f", and cannot compute on {len(broken)} of them: {broken[0]}", fix_for(broken[0])
    if len(seen) == listed >= wanted:
        shown = [f"{d['name']} {size(d['memory'])} sm_{str(d['capability']).replace('.', '')}" for d in seen]
        return ("ok", f": {'; '.join(dict.fromkeys(shown))}", "") if seen else ("skipped", "", "")
    if any(card.mig for card in cards.cards):
        return ("fail" if len(seen) < wanted else "warn"), " (MIG is on)", _MIG
    if len(seen) > listed:
        why = f" ({cards.problem})" if cards.problem else ""
        return "fail", f"{why}: alphaf would plan for {listed}", _UTILITY
    asked = f", and {wanted} are asked for" if wanted > len(seen) else ""
    return "fail", asked, f"{_ASK}; {_HIDDEN}"


def fix_for(said: str) -> str:
    """Return what mends an error of the CUDA runtime, by its text."""
    return next((fix for pattern, fix in _SAID if re.search(pattern, said, re.IGNORECASE)), _ASK)


def judge_bf16(view: Mapping[str, Any], where: str, *, needed: bool) -> Check:
    """Return whether every card has bfloat16 in hardware; a lack fails where a recipe trains in it."""
    without = [f"{d['name']} (sm_{str(d['capability']).replace('.', '')})" for d in view["devices"] if not d["bf16"]]
    if not view["devices"]:
        return Check(name="bf16", state="skipped", evidence="torch sees no GPU", subject=where)
    if not without:
        return Check(name="bf16", state="ok", evidence=f"on all {len(view['devices'])}", subject=where)
    return Check(
        name="bf16",
        state="fail" if needed else "warn",
        evidence=f"not in hardware: {', '.join(dict.fromkeys(without))}",
        fix="bf16 needs Ampere or newer (compute capability 8.0); train in float16: --set bf16=false --set fp16=true",
        subject=where,
    )


def judge_cards(cards: Cards, machine: Machine) -> list[Check]:
    """Return what NVML knows of each card that costs hours when it is met later; warnings, and ok where all is well.

    The cards are those that CUDA_VISIBLE_DEVICES leaves; a slice of one does not say whose it is: all with MIG on.
    """
    found, sliced = [], any(device.startswith("MIG-") for device in machine.devices)
    chosen = {_number(cards, device) for device in machine.devices}
    for number, card in enumerate(cards.cards):
        if str(number) not in chosen and not (sliced and card.mig):
            continue
        troubles = [(said, fix) for wrong, said, fix in _troubles(card) if wrong]
        values = {"memory": card.memory, "used": card.used, "processes": card.processes, "ecc_errors": card.ecc_errors}
        used = f"{size(card.used)} of {size(card.memory)} in use"
        if not troubles:
            evidence = f"{card.name}: {used}; no ECC errors, MIG off, clocks as they should be"
            found.append(Check(name="card", state="ok", evidence=evidence, subject=f"GPU {number}", values=values))
            continue
        found.append(
            Check(
                name="card",
                state="warn",
                evidence=f"{card.name}: {used}; {'; '.join(said for said, _ in troubles)}",
                fix="; ".join(fix for _, fix in troubles),
                subject=f"GPU {number}",
                values=values,
            )
        )
    return found


def _troubles(card: Card) -> list[tuple[bool, str, str]]:
    """Return (whether it is so, what it is, what to do) of all that may be wrong with a card."""
    processes = f"{card.processes} process{'' if card.processes == 1 else 'es'} of others compute on it"
    # In a container NVML mostly tells of no process outside.
    others = processes if card.processes else "its memory is somebody else's"
    full = card.memory > 0 and card.used > _FULL * card.memory
    return [
        (full or card.processes > 0, others, "wait for them or end them: nvidia-smi"),
        (bool(card.ecc_errors), f"{card.ecc_errors} uncorrected ECC errors", "reset the card or take it out of use"),
        (card.remap_failed, "rows of its memory are broken for good", "have the card replaced"),
        (card.remap_pending, "broken rows of its memory wait for a reset", "nvidia-smi --gpu-reset, or restart"),
        (card.mig, "MIG is on", "nvidia-smi -mig 0, or train on one slice: a process sees no more"),
        (card.prohibited, "its compute mode is PROHIBITED", "nvidia-smi -c DEFAULT"),
        (card.exclusive, "its compute mode is EXCLUSIVE_PROCESS", "nvidia-smi -c DEFAULT"),
        (card.slowed, "slowed down by heat or power now", "look at cooling and power: nvidia-smi -q -d PERFORMANCE"),
        (card.persistence is False, "persistence mode is off: each start takes seconds", "nvidia-smi -pm 1"),
    ]  # fmt: skip
