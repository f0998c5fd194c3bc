"""Child program: adds up a tensor over all local GPUs, one process each, and prints how fast; NCCL, or gloo on a CPU.

`collective [COUNT] [nccl|gloo]`. Everything stays on this machine: the ranks meet in a file, and talk over loopback
unless the user's own variables name another interface.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import TOOL, Failure, program

NUMBERS = 32 * 1024 * 1024  # ours: 128 MiB of float32, the size at which the links rather than the calls are measured
TIMES = 10


def _rank(rank: int, count: int, backend: str, place: str, numbers: int) -> None:
    try:
        _sum(rank, count, backend, place, numbers)
    except Failure as failure:
        failure.show()  # mp.spawn, which catches an Exception, would tell of the exit code alone
        raise


def _sum(rank: int, count: int, backend: str, place: str, numbers: int) -> None:
    import torch
    import torch.distributed as dist

    device = f"cuda:{rank}" if backend == "nccl" else "cpu"
    if backend == "nccl":
        torch.cuda.set_device(rank)
    dist.init_process_group(backend, store=dist.FileStore(f"{place}/meet", count), rank=rank, world_size=count)
    try:
        tensor = torch.full((numbers,), float(rank + 1), device=device)
        dist.all_reduce(tensor)
        wanted = count * (count + 1) / 2
        if not bool((tensor == wanted).all()):
            raise Failure(
                TOOL,
                f"the all-reduce over {count} processes gave {float(tensor[0])} where the sum is {wanted}",
                where=f"rank {rank} ({backend})",
                fix="try again with NCCL_P2P_DISABLE=1: if the sum is right then, the links between the cards are not",
                code="tool.wrong_result",
            )
        seconds = _timed(torch, dist, tensor, device)
        if rank == 0:
            _write(Path(place) / "result", tensor, seconds, count)
    finally:
        dist.destroy_process_group()


def _timed(torch: Any, dist: Any, tensor: Any, device: str) -> float:
    def settle() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    settle()
    dist.barrier()
    begun = time.perf_counter()
    for _ in range(TIMES):
        dist.all_reduce(tensor)
    settle()
    return (time.perf_counter() - begun) / TIMES


def _write(path: Path, tensor: Any, seconds: float, count: int) -> None:
    size = tensor.numel() * tensor.element_size()
    # What a link carries, so that it compares for any number of ranks (nccl-tests, doc/PERFORMANCE.md).
    gb_per_s = size / seconds / 1e9 * 2 * (count - 1) / count
    path.write_text(json.dumps({"bytes": size, "seconds": seconds, "bus_gb_per_s": gb_per_s}), encoding="utf-8")


def main(argv: list[str]) -> None:
    """Print what the all-reduce measured; raises what a rank raised."""
    import torch
    import torch.multiprocessing as mp

    backend = argv[1] if len(argv) > 1 else "nccl"
    count = int(argv[0]) if argv else torch.cuda.device_count()
    numbers = NUMBERS if backend == "nccl" else NUMBERS // 64
    for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    os.environ.setdefault("NCCL_IB_DISABLE", "1")  # one machine: nothing goes over InfiniBand
    os.environ.setdefault("NCCL_DEBUG", "WARN")  # it says why, and is silent where all is well
    with tempfile.TemporaryDirectory(prefix="alphaf-doctor-") as place:
        mp.spawn(_rank, args=(count, backend, place, numbers), nprocs=count)
        found = json.loads((Path(place) / "result").read_text(encoding="utf-8"))
    print(json.dumps({"ranks": count, "backend": backend, **found}), flush=True)


if __name__ == "__main__":
    program(main)
    sys.exit(0)
