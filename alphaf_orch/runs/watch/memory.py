"""Too little memory: recognised in what a program said and in how it ended, and what to change then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# As the pinned tools put it: torch (c10/cuda/CUDACachingAllocator.cpp, c10/core/CPUAllocator.cpp), CUDA's runtime and
# driver, cuBLAS, NCCL 2.2x, bitsandbytes (csrc/pythonInterface.cpp), deepspeed's offload, python. No word of Triton's
# `OutOfResources: out of resource: shared memory`, which is of a kernel's block and not of a card's memory.
_CARD = re.compile(
    r"torch\.(cuda\.)?OutOfMemoryError|(CUDA|HIP|XPU) out of memory|CUDA(?: driver)? error: out of memory"
    r"|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED"
    r"|Cuda failure (\d+ )?'out of memory'|Error out of memory at line|the GPU has too little memory"
)
_HOST = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|(^|\s)MemoryError\b|std::bad_alloc|numpy.*MemoryError"
    r"|Unable to allocate [\d.]+ [KMGT]iB for an array|\[Errno 12\]|Cannot allocate memory"
    r"|DataLoader worker \(pid\(?s?\)? [\d, ]+\) is killed by signal: Killed"
)
# What to do about it where there is no batch of a training to cut.
LESS: Mapping[str, str] = {
    "GPU": "end what else is on the card (`nvidia-smi`), ask for fewer rows at a time (of an evaluation: --batch-size),"
    " or share the model out over more GPUs; `alphaf estimate` says what fits",
    "machine": "give it more memory (of a container or job: its limit), fewer processes or dataloader workers, or a"
    " smaller model; `alphaf estimate` says what it takes",
}
_KILLED = re.compile(r"killed by signal:? 9\b")
# What our callback prints once the model is loaded and its first step begins (programs/training/metrics_callback.py).
# A progress bar's unfinished line may stand before it.
_BEGUN = re.compile(r"training on \d+ rank\(s\), \d+ steps")


def short_of(told: str, *, killed: bool) -> str | None:
    """Return of what memory a program ran out, `GPU` or `machine`, or None; `killed`: the kernel killed for memory."""
    if _CARD.search(told):
        return "GPU"
    if _HOST.search(told) or (killed and _KILLED.search(told)):
        return "machine"
    return None


def was_training(printed: str) -> bool:
    """Return whether the last try in a log had its model loaded: smaller batches help only from there on."""
    return _BEGUN.search(printed.rpartition("\n$ ")[2]) is not None


def kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how often the kernel has killed a process for memory, in our control group where it counts them."""
    try:
        ours = re.search(r"^0::(/.*)$", (proc / "self/cgroup").read_text(encoding="utf-8"), flags=re.MULTILINE)
        file = cgroups / (ours[1].lstrip("/") if ours else "") / "memory.events"
        return _counted(file if file.is_file() else proc / "vmstat")
    except OSError:  # no Linux that tells us
        return 0


def _counted(file: Path) -> int:
    found = re.search(r"^oom_kill (\d+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return int(found[1]) if found else 0


def smaller(recipe: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the next smaller cut of the same global batch, None where a micro batch holds one row.

    Half of an even micro_batch_size, of an odd one the largest part that divides it: 8, 4, 2, 1; 9, 3, 1; 7, 1.
    """
    micro = int(recipe["micro_batch_size"])
    if micro < 2:
        return None
    less = next(part for part in range(micro // 2, 0, -1) if micro % part == 0)
    found = {
        "micro_batch_size": less,
        "gradient_accumulation_steps": int(recipe["gradient_accumulation_steps"]) * (micro // less),
    }
    evaluated = recipe.get("eval_batch_size")
    return {**found, "eval_batch_size": max(1, int(evaluated) // 2)} if evaluated else found


def advice(section: str, recipe: Mapping[str, Any], of: str, *, training: bool, option: bool) -> str:
    """Return what to do about it: the next cut of the batch, and what is left where there is none."""
    less = smaller(recipe) if training else None
    if less:
        cut = f"micro_batch_size {less['micro_batch_size']} x {less['gradient_accumulation_steps']} steps"
        by_hand = " ".join(f"--set {section}.{key}={value}" for key, value in less.items())
        kept = f"{cut} is" if option else f"give the same command with `--on-oom retry`: it goes on with {cut},"
        return f"{kept} the same global batch (by hand, under --run NEW: {by_hand}); `alphaf estimate` says what fits"
    if of == "machine":
        return LESS[of]
    keys = ("gradient_checkpointing", True), ("load_in_4bit", True), ("sample_packing", False)
    change = [f"{section}.{key}={str(to).lower()}" for key, to in keys if recipe.get(key) is (not to)]
    by_set = f" (--set {' or '.join(change)})" if change else ""
    return (
        f"smaller micro batches do not help: lower sequence_len{by_set} under --run NEW, or share the model out over"
        " more GPUs; end what else is on the card (`nvidia-smi`); `alphaf estimate` says what fits"
    )
