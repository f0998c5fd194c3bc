"""What this machine has: GPUs and processors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.cards import look_at_cards
from alphaf_orch.core.errors import HardwareError


@dataclass(frozen=True)
class Machine:
    """The GPUs a child process would see (names, and what CUDA calls them) and the processors they may use together.

    `memory` is that of the smallest of these GPUs in bytes, as its driver tells; 0 where it is not known. `card` is the
    kind of the oldest of them, its compute capability: sm_90; empty where it is not known.
    """

    gpus: tuple[str, ...]
    cpus: int
    devices: tuple[str, ...] = ()
    memory: int = 0
    card: str = ""

    def visible(self, count: int) -> tuple[str, ...]:
        """Return the first `count` devices as the user numbered them; what is planned for another machine counts on."""
        return self.devices[:count] if count <= len(self.devices) else tuple(str(number) for number in range(count))


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
    except pynvml.NVMLError as error:
        raise HardwareError(
            f"the driver does not answer for its GPUs: {error}",
            where="NVML",
            fix="`nvidia-smi` says which one; reset it (nvidia-smi --gpu-reset) or restart the machine",
            code="hardware.driver_silent",
        ) from None
    finally:
        pynvml.nvmlShutdown()


def _smallest_memory(devices: tuple[str, ...]) -> int:
    """Return the bytes of the smallest of the devices, numbers or ids; 0 for none and where one does not tell."""
    found = _told(devices, "nvmlDeviceGetMemoryInfo")
    return min((int(memory.total) for memory in found), default=0)


def _oldest_kind(devices: tuple[str, ...]) -> str:
    """Return the lowest compute capability of the devices as axolotl writes it; "" where one does not tell."""
    found = [tuple(kind) for kind in _told(devices, "nvmlDeviceGetCudaComputeCapability")]
    return "sm_{}{}".format(*min(found)) if found else ""


def _told(devices: tuple[str, ...], question: str) -> list[Any]:
    """Return what NVML says of each of the devices; nothing where it does not of one."""
    import pynvml

    if not devices:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = (
            pynvml.nvmlDeviceGetHandleByIndex(int(device))
            if device.isdecimal()
            else pynvml.nvmlDeviceGetHandleByUUID(device)
            for device in devices
        )
        return [getattr(pynvml, question)(handle) for handle in handles]
    except pynvml.NVMLError:
        # A shortened id, which CUDA takes and NVML does not, or a card that shares its memory with the host.
        return []
    finally:
        pynvml.nvmlShutdown()


def _chosen(text: str, count: int) -> tuple[str, ...]:
    """Return the entries of CUDA_VISIBLE_DEVICES that name devices, numbers below `count` or ids.

    An entry of another kind ends the list, a repeated one empties it (torch 2.x, cuda._parse_visible_devices).
    """
    kind = next((prefix for prefix in ("GPU-", "MIG-") if text.strip().startswith(prefix)), "")
    found: list[str] = []
    for entry in (part.strip() for part in text.split(",")):
        if not (entry.startswith(kind) if kind else entry.isdecimal() and int(entry) < count):
            break
        if entry in found:
            return ()
        found.append(entry)
    return tuple(found)


def visible_devices() -> str | None:
    """Return CUDA_VISIBLE_DEVICES as the user set it, None where it is not set."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def detect_machine() -> Machine:
    """Return this machine, with CUDA_VISIBLE_DEVICES honoured as torch does; nothing else reads that variable."""
    names = _all_gpus()
    chosen = visible_devices()
    devices = tuple(str(number) for number in range(len(names)))
    if chosen is not None and names:
        devices = _chosen(chosen, len(names))
    gpus = tuple(names[int(device)] if device.isdecimal() else device for device in devices)
    # Whoever sets OMP_NUM_THREADS shares the processors with somebody else.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cpus = int(threads) if threads.isdigit() and int(threads) else len(os.sched_getaffinity(0))
    return Machine(gpus, cpus, devices, _smallest_memory(devices), _oldest_kind(devices))


def check_gpus(wanted: int, machine: Machine, stage: str, option: str) -> None:
    """Raise HardwareError naming both numbers when a stage wants more GPUs than there are."""
    have = len(machine.gpus)
    if wanted > have:
        fewer = (
            f"{option} {have} keeps the global batch by raising accumulation" if have else f"{option} 0 trains on CPU"
        )
        problem = None if have else look_at_cards().problem
        why = f" (NVML, which counts them: {problem})" if problem else ""
        raise HardwareError(
            f"{stage} asks for {wanted} GPUs, this machine has {have}{why}",
            where=f"`{option.lstrip('-')}` of the model preset or the config; CUDA_VISIBLE_DEVICES is honoured",
            fix=f"{fewer}; --dry-run needs no GPU",
            code="hardware.too_few_gpus",
        )
