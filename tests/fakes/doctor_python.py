"""Stands in for a tool environment's python: answers the programs of `programs/doctor` as a machine with GPUs would.

`make(folder, answers)` returns its path. `answers` maps a program (`devices`, `kernel triton`, ...) to the JSON object
that it prints, or to what befalls it: "hang", "crash" (a segmentation fault) or a text, which is printed as its error
with exit code 1. Every call is appended to calls.txt beside it.
"""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

H100 = {"name": "NVIDIA H100", "memory": 85 * 10**9, "capability": "9.0", "bf16": True, "error": None}
PACKAGES = {"axolotl": "0.19.0", "trl": "1.9.0", "peft": "0.20.0", "transformers": "5.16.1", "torch": "2.13.0"}
PACKAGES |= {"mergekit": "0.1.5", "bitsandbytes": "0.50.2", "triton": "3.7.1"}
# What every kernel says on a machine with two GPUs on which all is well.
FINE = {
    "kernel bitsandbytes": {"error": 0.003, "bitsandbytes": "0.50.2"},
    "kernel triton": {"error": 0.0, "triton": "3.7.1"},
    "kernel varlen": {"error": 0.004, "sequences": 4},
    "kernel gemm": {"tflops": 798.0, "size": 8192, "error": 0.001},
    "collective": {"ranks": 2, "backend": "nccl", "bytes": 1 << 27, "seconds": 0.001, "bus_gb_per_s": 290.0},
}


def view(
    count: int = 0, *, cuda: str | None = "13.0", error: str | None = None, broken: str | None = None, **device: Any
) -> dict[str, Any]:
    """Return what `devices` says of a torch that sees so many H100, `device` laid over each."""
    return {
        "torch": "2.13.0+cu130" if cuda else "2.13.0+cpu",
        "cuda": cuda,
        "hip": None,
        "error": error,
        "devices": [{**H100, **device, "error": broken} for _ in range(count)],
    }


def environment(**changes: Any) -> dict[str, Any]:
    """Return what `environment` says of an environment with all tools; its headers are those of this python."""
    from alphaf_orch.programs.doctor.environment import environment as this

    return {**this(), "packages": PACKAGES, **changes}


def make(folder: Path, answers: dict[str, Any]) -> Path:
    """Return the python, which answers from then on."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"environment": environment(), "versions": {"python": "3.11.7", **PACKAGES}}
    (folder / "answers.json").write_text(json.dumps(known | answers), encoding="utf-8")
    python = folder / "python"
    python.write_text(f"#!{sys.executable} -IS\n{_CODE}", encoding="utf-8")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def calls(python: Path) -> list[str]:
    """Return the programs that were started with it, in order."""
    file = python.with_name("calls.txt")
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


_CODE = """
import json, os, sys, time
from pathlib import Path
here = Path(__file__).parent
name = " ".join([sys.argv[2].rpartition(".")[2], *sys.argv[3:]])
with (here / "calls.txt").open("a") as file:
    file.write(name + "\\n")
answers = json.loads((here / "answers.json").read_text())
key = max((key for key in answers if name.startswith(key)), key=len, default=None)
answer = answers.get(key, "RuntimeError: nobody said what %s answers" % name)
if answer == "hang":
    if os.fork() == 0:
        os.setsid()
    print("before the call", flush=True)
    time.sleep(60)
if answer == "crash":
    os.kill(os.getpid(), 11)
if isinstance(answer, str):
    sys.exit(answer)
print("a library's chatter", file=sys.stderr)
print(json.dumps(answer), flush=True)
"""
