"""Wheels of the packages that come as source alone: built here where they run on the target, else named."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from alphaf_orch.bundle.files import has, sha256
from alphaf_orch.bundle.found import PIP, Package
from alphaf_orch.bundle.run import AGAIN, Runner
from alphaf_orch.bundle.target import Target
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.record import write_atomic
from alphaf_orch.core.stored import absent, checked, read_value

# DeepSpeed's setup looks for nvcc and would compile ops; what trains here needs none (Makefile, setup-deepspeed).
_ENVIRONMENT = {"DS_BUILD_OPS": "0", "DS_IGNORE_CUDA_DETECTION": "1"}


class Wheel(BaseModel):
    """What is kept of a wheel that was built."""

    file: str
    sha256: str


Built = dict[str, Wheel]  # by the source's SHA-256
_BUILT = TypeAdapter(Built)


def build(
    sources: Sequence[Package], folder: Path, before: Built, target: Target, runner: Runner
) -> dict[Package, str]:
    """Return the wheel of each source package, with the source's SHA-256; a wheel built before stays.

    Building runs the package's own setup code on this machine. Raises ToolError naming every package that cannot be
    built, or whose wheel the target would not take.
    """
    state = runner.work / "built.json"
    known = before | ({} if absent(state) else checked(_BUILT, read_value(state, AGAIN), state, AGAIN))
    made, unfit = {}, []
    for package in sources:
        entry = known.get(package.sha256)
        if not entry or not has(folder / "wheels" / entry.file, entry.sha256):
            wheel = _wheel(package, runner)
            trouble = _unfit(wheel, target) if wheel else "the build failed"
            if not wheel or trouble:
                unfit.append(f"{package.name}=={package.version} ({trouble})")
                continue
            entry = Wheel(file=wheel.name, sha256=sha256(wheel))
            (folder / "wheels").mkdir(parents=True, exist_ok=True)
            wheel.replace(folder / "wheels" / wheel.name)
            known[package.sha256] = entry
            write_atomic(state, _BUILT.dump_json(known, indent=1).decode("utf-8"))
        there = (folder / "wheels" / entry.file).stat().st_size
        made[replace(package, file=entry.file, sha256=entry.sha256, size=there, source=False)] = package.sha256
    if unfit:
        raise ToolError(
            f"{len(unfit)} packages come as source, and what is built of them here does not run on the target:\n    "
            + "\n    ".join(unfit),
            where=f"log: {runner.log}",
            fix=f"on a machine with python {target.python} on {target.machine}, a compiler and a glibc not above"
            f" {'.'.join(map(str, target.glibc))} run `python -m pip wheel --no-deps NAME==VERSION -w DIR` for each,"
            " then name that folder in PIP_FIND_LINKS and call this again; of some there are wheels for a newer glibc"
            " (--glibc 2.34)",
            code="tool.build_unfit",
        )
    return made


def _wheel(package: Package, runner: Runner) -> Path | None:
    """Return the wheel that pip builds of the source, compared with its hash before; None where it fails."""
    made, wanted = runner.work / "building", runner.work / "source.txt"
    shutil.rmtree(made, ignore_errors=True)
    wanted.write_text(f"{package.requirement}\n", encoding="utf-8")
    argv = [*PIP, "wheel", "--quiet", "--no-deps", "--no-cache-dir", "--require-hashes", "--wheel-dir", str(made)]
    finished = runner.run(
        f"building {package.name} {package.version} of its source", [*argv, "-r", str(wanted)], _ENVIRONMENT
    )
    return next(made.glob("*.whl"), None) if finished.exit_code == 0 else None


def _unfit(wheel: Path, target: Target) -> str:
    """Return why the target cannot use a wheel that was built here, nothing where it can."""
    if wheel.name.endswith("-none-any.whl"):
        return "" if target.takes(wheel.name) else f"it became {wheel.name}"
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    _, glibc = platform.libc_ver()
    if here != target.python or platform.machine() != target.machine:
        return f"it has compiled parts: {wheel.name}"
    if tuple(int(part) for part in glibc.split(".")[:2]) > target.glibc:
        return f"it has parts compiled against glibc {glibc}: {wheel.name}"
    return ""
