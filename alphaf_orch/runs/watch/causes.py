"""What tools say of ports, networks, shared memory and cards that fail, as a sentence with the next step.

The texts are those of torch 2.13 (c10d, ProcessGroupNCCL.cpp, CUDAException.cpp, DataLoader.cpp), of NCCL 2.2x and of
the NVIDIA driver; tests/runs/test_watch_causes.py has them as they were printed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_AGAIN = "then the same command goes on from the last checkpoint"


@dataclass(frozen=True)
class Cause:
    """What it was, in our words, and what to do."""

    what: str
    fix: str
    first: bool = False  # whatever else is said: "No space left on device" is of memory here, of no disk
    vague: bool = False  # what others only follow from: lines before it may name those
    ranks: bool = False  # said of ranks alone: a hub or a judge that does not answer says the same
    words: str = ""  # the line that tells of it


# The first one whose words are there counts: what causes others stands before them.
_KNOWN: tuple[tuple[str, Cause], ...] = (
    (
        r"shared memory segment|/dev/shm/nccl-|posix_fallocate failed|Bus error\. It is possible that dataloader"
        r"|Unexpected bus error encountered in worker|unable to (open|write to|mmap|allocate) shared memory"
        r"|torch_shm_manager|No space left on device: '?/dev/shm",
        Cause(
            "there is too little shared memory (/dev/shm)",
            "start the container with --shm-size=8g (or --ipc=host), else: mount -o remount,size=8G /dev/shm; look for"
            f" files that dead processes left there (`ls /dev/shm`); `alphaf doctor` shows its size; {_AGAIN}",
            first=True,
        ),
    ),
    (
        r"EADDRINUSE|[Aa]ddress already in use",
        Cause(
            "a port is taken: two trainings meet at the same one, or a rank of an earlier one lives on",
            "see who has it (`ss -ltnp`) and end that, or, on several machines, set another MASTER_PORT on all of"
            f" them; {_AGAIN}",
            ranks=True,
        ),
    ),
    (
        r"uncorrectable ECC|ECC_UNCORRECTABLE|cudaErrorECC",
        Cause(
            "a GPU's memory is damaged (uncorrectable ECC error)",
            "`nvidia-smi -q -d ECC` names the card: leave it out by CUDA_VISIBLE_DEVICES, have it reset or replaced;"
            f" {_AGAIN}",
        ),
    ),
    (
        r"\bXid\b|fallen off the bus|GPU is lost|unspecified launch failure|NVLink error|Uncorrectable NVLink"
        r"|cudaErrorHardwareStackError|device(?:\(s\))? (?:is|are) busy or unavailable|hardware stack error",
        Cause(
            "a GPU failed, or is held by another process",
            "`dmesg | grep -i xid` and `nvidia-smi` name the card: leave it out by CUDA_VISIBLE_DEVICES, or have the"
            f" machine restarted; {_AGAIN}",
        ),
    ),
    (
        r"driver version is insufficient|forward compatibility was attempted|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
        r"|NVIDIA driver on your system is too old|Driver/library version mismatch|no kernel image is available"
        r"|system has unsupported display driver|unsupported toolchain|PTX was compiled with an unsupported",
        Cause(
            "the GPU's driver and the installed torch do not fit together",
            "`alphaf doctor` names the driver that this torch wants; after a driver update restart the machine",
        ),
    ),
    (
        r"device-side assert",
        Cause(
            "a kernel met an index out of range (device-side assert): mostly a token id beyond the model's rows",
            "`alphaf doctor MODEL` compares tokenizer and model; CUDA_LAUNCH_BLOCKING=1 before the command names the"
            " place in the log",
        ),
    ),
    (
        r"illegal memory access|misaligned address|an illegal instruction was encountered|invalid program counter",
        Cause(
            "a GPU kernel failed (illegal memory access): a kernel's fault, or a card's",
            "try again; if it comes back, torch's own kernels: --set sft.attn_implementation=sdpa and the lora_*_kernel"
            " keys false, with CUDA_LAUNCH_BLOCKING=1 for the place; if it stays with one card, leave that out",
        ),
    ),
    (
        r"NCCL WARN .*(ibv_|IB |mlx5)|ibv_\w+ failed|IBV_WC_\w+|Got completion .* with (?:status|error)|vendor err"
        r"|port .* is not active|NET/IB.*(fail|error|[Tt]imed out)",
        Cause(
            "the InfiniBand network between the machines failed",
            "`ibstat` shows ports that are down; NCCL_IB_HCA chooses the adapters, NCCL_IB_DISABLE=1 goes over"
            f" ordinary sockets, slower; {_AGAIN}",
        ),
    ),
    (
        r"Bootstrap : no socket interface found|No route to host|Name or service not known|getaddrinfo"
        r"|[Cc]onnection (refused|timed out)|client socket has (failed|timed out)|Network is unreachable"
        r"|RendezvousTimeoutError|RendezvousConnectionError",
        Cause(
            "the processes do not reach each other over the network",
            "look at firewall, MASTER_ADDR and names; NCCL_SOCKET_IFNAME chooses the interface (not lo or docker0);"
            f" {_AGAIN}",
            ranks=True,
        ),
    ),
    (
        r"Watchdog caught collective operation timeout|collective operation timeout|Timed out waiting \d+ms"
        r"|Timeout waiting for key|wait timeout after \d+ms|Monitored barrier|Heartbeat monitor timed out",
        Cause(
            "the ranks waited for each other until the time was over: one of them hung, died or was much slower",
            "read the other ranks' words in the log above it; a slow first step or a long evaluation needs a higher"
            " ddp_timeout (--set sft.ddp_timeout=7200), a hang NCCL_DEBUG=INFO, and NCCL_P2P_DISABLE=1 where cards talk"
            f" over PCIe; {_AGAIN}",
            vague=True,
            ranks=True,
        ),
    ),
    (
        r"Connection (closed|reset) by (remote )?peer|remote process exited|ncclRemoteError|Broken pipe|Socket Timeout"
        r"|failed to recv, got 0 bytes",
        Cause(
            "a rank lost another one",
            f"the cause is what that one said: read the log above it, of the other machines too; {_AGAIN}",
            vague=True,
            ranks=True,
        ),
    ),
    (
        r"unhandled cuda error|ncclUnhandledCudaError|Cuda failure",
        Cause(
            "NCCL met an error of CUDA",
            "its `Last error` and, with NCCL_DEBUG=WARN before the command, a `Cuda failure` line name it; `nvidia-smi`"
            f" shows whether all cards answer; {_AGAIN}",
            vague=True,
        ),
    ),
    (
        r"unhandled system error|ncclSystemError|ncclInternalError|internal error - please report",
        Cause(
            "NCCL met an error of the system: a socket, shared memory, a limit, or a peer that is gone",
            "NCCL_DEBUG=WARN before the command names it; `alphaf doctor` looks at /dev/shm and the limits"
            f" (`ulimit -l unlimited`); {_AGAIN}",
            vague=True,
        ),
    ),
    (
        r"ncclInvalidUsage|invalid usage|Duplicate GPU detected",
        Cause(
            "two ranks use one card, or ranks of another launch meet here",
            "look at CUDA_VISIBLE_DEVICES and --gpus, and for ranks of an earlier launch (`nvidia-smi`)",
        ),
    ),
)
_OF_RANKS = re.compile(
    r"NCCL|nccl|c10d|TCPStore|DistNetwork|DistStore|DistBackend|[Rr]endezvous|rdzv|[Gg]loo|ProcessGroup"
    r"|The server socket has failed"
)
_COMPILED = tuple((re.compile(words), cause) for words, cause in _KNOWN)
_LINES = 400  # ours: of the log's end, where NCCL's warnings stand before what the ranks die of
_SIGNAL = re.compile(r"killed by signal (6|7|9|11)\b")


def explained(told: str, lines: Sequence[str] = ()) -> Cause | None:
    """Return the cause that a program's last words name, None where they name none of these.

    Where they name none but a signal, or only what follows from others, the log's last `lines` are asked too.
    """
    found = _named(told)
    if found and not found.vague:
        return found
    if found or not told or _SIGNAL.search(told):
        named = [cause for line in lines[-_LINES:] if (cause := _named(line))]
        return next((cause for cause in named if not cause.vague), found or next(iter(named), None))
    return None


def _named(text: str) -> Cause | None:
    of_ranks = _OF_RANKS.search(text) is not None
    for words, cause in _COMPILED:
        match = words.search(text)
        if match and (of_ranks or not cause.ranks):
            line = text[text.rfind("\n", 0, match.start()) + 1 :].partition("\n")[0]
            return replace(cause, words=line.strip())
    return None
