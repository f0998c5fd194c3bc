"""What this machine has: GPUs, processors, free disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.disk import size
from alphaf_orch.core.errors import HardwareError


@dataclass(frozen=True)
class Machine:
    """The GPUs a child process would see (their names) and the processors all of them may use together."""

    gpus: tuple[str, ...]
    cpus: int


def _all_gpus() -> tuple[str, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        # No driver: a machine without NVIDIA GPUs.
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
    finally:
        pynvml.nvmlShutdown()


def detect_machine() -> Machine:
    """Return this machine, with CUDA_VISIBLE_DEVICES honoured as CUDA does (an invalid entry ends the list)."""
    gpus = _all_gpus()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None and gpus:
        visible: list[str] = []
        for entry in (part.strip() for part in chosen.split(",")):
            if entry.isdigit() and int(entry) < len(gpus):
                visible.append(gpus[int(entry)])
            elif entry.startswith(("GPU-", "MIG-")):
                visible.append(entry)
            else:
                break
        gpus = tuple(visible)
    # Whoever sets OMP_NUM_THREADS shares the processors with somebody else.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return Machine(gpus, int(threads) if threads.isdigit() and int(threads) else len(os.sched_getaffinity(0)))


def check_gpus(wanted: int, machine: Machine, stage: str, option: str) -> None:
    """Raise HardwareError naming both numbers when a stage wants more GPUs than there are."""
    have = len(machine.gpus)
    if wanted > have:
        fewer = (
            f"{option} {have} keeps the global batch by raising accumulation" if have else f"{option} 0 trains on CPU"
        )
        raise HardwareError(
            f"{stage} asks for {wanted} GPUs, this machine has {have}",
            where=f"`{option.lstrip('-')}` of the model preset or the config; CUDA_VISIBLE_DEVICES is honoured",
            fix=f"{fewer}; --dry-run needs no GPU",
        )


def check_disk(folder: Path, needed: int, stage_names: str) -> None:
    """Raise HardwareError when the file system under `folder` has fewer than `needed` bytes free."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise HardwareError(
            f"{stage_names} will write about {size(needed)}, {size(free)} are free",
            where=str(folder),
            fix="free some space, or point ALPHAF_RUNS at a larger disk",
        )
