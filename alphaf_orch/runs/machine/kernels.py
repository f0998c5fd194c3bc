"""One kernel of each tool really run on a card, a matrix product on every card, and a sum over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from alphaf_orch.core.errors import HardwareError
from alphaf_orch.runs.machine.checks import Check
from alphaf_orch.runs.machine.look import ask, kernel_check

# The kernels by the package that must be there for them: QLoRA's, that of the fused layers, that of packed attention.
KERNELS = {"bitsandbytes": "bitsandbytes", "triton": "triton", "varlen": "torch"}
_WITHOUT_P2P = "NCCL_P2P_DISABLE=1"
_TRY = f"try {_WITHOUT_P2P} alphaf doctor; in a container give /dev/shm more room (--shm-size=1g)"
_SLOW = 0.8  # ours: cards of one kind are within a few percent of each other, one below is throttled or broken


def kernel_checks(
    python: str, packages: Mapping[str, str], devices: Sequence[Mapping[str, Any]], names: Sequence[str] = ()
) -> list[Check]:
    """Return how each kernel went: those of the tools at once on the first card, then the products, then the sum.

    `names` are what the devices are called (`gpus.gpu_names`), their numbers by torch where there are none.
    """
    names = names or [f"GPU {number}" for number in range(len(devices))]
    usable = [number for number, device in enumerate(devices) if not device["error"]]
    if not usable:
        reason = "torch can use no GPU here"
        return [Check(name=name, state="skipped", evidence=reason) for name in (*KERNELS, "gemm", "all_reduce")]
    first = f"cuda:{usable[0]}"
    there = [name for name, package in KERNELS.items() if package in packages]
    answers = ask([(python, "kernel", name, first) for name in there])
    checks = [kernel_check(name, answer, names[usable[0]]) for name, answer in zip(there, answers, strict=True)]
    checks += [
        Check(name=name, state="skipped", evidence=f"{package} is not installed in that environment")
        for name, package in KERNELS.items()
        if name not in there
    ]
    return [*checks, *_products(python, usable, devices, names), _sum(python, len(usable), len(devices))]


def _products(
    python: str, usable: Sequence[int], devices: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[Check]:
    """Return how fast each card multiplies while all of them do; one that is far behind its like is warned of."""
    answers = ask([(python, "kernel", "gemm", f"cuda:{number}") for number in usable])
    checks = []
    for number, answer in zip(usable, answers, strict=True):
        check = kernel_check("gemm", answer, names[number], HardwareError)
        name = devices[number]["name"]
        like = [
            float(other.values["tflops"])
            for other_number, other in zip(usable, answers, strict=True)
            if "tflops" in other.values and devices[other_number]["name"] == name
        ]
        if "tflops" in answer.values and answer.values["tflops"] < _SLOW * median(like):
            fix = "look at heat, power and clocks: nvidia-smi -q -d PERFORMANCE,CLOCK; all ranks wait for the slowest"
            slow = f"{check.evidence}, where cards of its kind here do {median(like):.0f}"
            check = replace(check, state="warn", evidence=slow, fix=fix)
        checks.append(check)
    return checks


def _sum(python: str, usable: int, count: int) -> Check:
    if usable < count:
        evidence = f"{count - usable} of {count} GPUs cannot compute"
        return Check(name="all_reduce", state="skipped", evidence=evidence)
    (answer,) = ask([(python, "collective", str(count), "nccl")])
    check = kernel_check("all_reduce", answer, "all GPUs", HardwareError)
    if check.state == "fail":
        # A sum that is wrong has its own advice, which is more to the point.
        return check if _WITHOUT_P2P in check.fix else replace(check, fix=f"{_TRY}; {check.fix}")
    return check
