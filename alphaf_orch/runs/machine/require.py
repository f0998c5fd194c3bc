"""The questions that a launch on GPUs depends on, asked in the tool's own environment and once a boot."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.cards import look_at_cards
from alphaf_orch.core.command import PROGRAM_ENV, child_env
from alphaf_orch.core.errors import DiskError, HardwareError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import PROGRAMS, cache_dir
from alphaf_orch.core.record import fingerprint, read_json, write_atomic
from alphaf_orch.runs.machine.checks import Check, require
from alphaf_orch.runs.machine.compiler import compiler, judge_compiler, judge_libcuda, judge_triton_cache
from alphaf_orch.runs.machine.gpus import judge_bf16, judge_devices, judge_driver
from alphaf_orch.runs.machine.look import ask, failed

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# What the answer depends on, of the user's environment.
_VARIABLES = ("CC", "LD_LIBRARY_PATH", "TRITON_LIBCUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "LD_PRELOAD")
_DEVICE_FILE = Path("/dev/nvidiactl")  # made by the driver: where it is, somebody meant to use a card


@dataclass(frozen=True)
class Wanted:
    """What a launch asks of the GPUs: how many, whether in bfloat16, whether Triton will compile for them."""

    gpus: int
    bf16: bool = False
    compiles: bool = False


def require_gpus(python: str, wanted: Wanted, machine: Machine, versions: Mapping[str, str]) -> None:
    """Raise HardwareError or ToolError for what would stop a launch on GPUs, as `alphaf doctor` says it.

    What passed is kept in the cache for this boot, driver, environment and these variables, and not asked again; the
    folder that Triton keeps what it compiles in is.
    """
    env = child_env(PROGRAM_ENV, online=False)
    cards = look_at_cards()
    kept = cache_dir() / "machine" / f"{_key(python, machine, versions, cards.driver, env)}.json"
    known = read_json(kept) or {}
    environment, view = known.get("environment"), known.get("devices")
    if view is None or environment is None or (wanted.compiles and not known.get("compiles")):
        answers = ask([(python, "environment"), (python, "devices")])
        require(failed(name, answer, python) for name, answer in zip(("python", "torch_gpus"), answers, strict=True)
                if answer.trouble)  # fmt: skip
        environment, view = dict(answers[0].values), dict(answers[1].values)
    # The card is told of before the driver that may be its cause, for it has torch's own words; both are said.
    driver = judge_driver(cards, view, python)
    checks = [_with(driver, judge_devices(cards, machine, view, python, wanted.gpus))]
    checks.append(judge_bf16(view, python, needed=wanted.bf16))
    if wanted.compiles and not known.get("compiles"):
        checks += judge_compiler(environment, env, python, needed=True)
        checks.append(judge_libcuda(env, python, needed=True))
    if wanted.compiles:  # one file written, so it is asked each time: a disk fills up, or becomes read-only
        checks.append(judge_triton_cache(env, python, needed=True))
    require(checks)
    compiles = bool(known.get("compiles") or wanted.compiles)
    if not known or compiles != known.get("compiles"):
        with contextlib.suppress(DiskError, OSError):  # a cache that cannot be written: it is asked again next time
            write_atomic(kept, json.dumps({"environment": environment, "devices": view, "compiles": compiles}))


def _with(driver: Check, devices: Check) -> Check:
    """Return the check of the devices, or that of the driver with the text of torch where both failed."""
    if driver.state != "fail":
        return devices
    return Check(
        name="driver",
        state="fail",
        evidence=f"{devices.evidence}; {driver.evidence}",
        fix=driver.fix,
        subject=driver.subject,
    )


def require_counted(machine: Machine, *, chosen: bool) -> None:
    """Raise HardwareError where the driver's device files are here and NVML cannot count its cards.

    A run that was told no number of GPUs would train on the processor, for days.
    """
    if chosen or machine.gpus or not _DEVICE_FILE.exists():
        return
    cards = look_at_cards()
    if cards.problem:
        raise HardwareError(
            f"the NVIDIA driver's device files are here, and its cards cannot be counted: {cards.problem}",
            where="NVML (libnvidia-ml.so.1)",
            fix="`nvidia-smi` says the same; in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility, after an"
            " update of the driver restart the machine; or say --gpus 0 to train on the processor",
            code="hardware.gpus_uncounted",
        )


def _key(python: str, machine: Machine, versions: Mapping[str, str], driver: str | None, env: Mapping[str, str]) -> str:
    boot = _BOOT.read_text(encoding="utf-8").strip() if _BOOT.is_file() else ""
    root = Path("/").stat()  # another container has another
    ours = [(path.name, path.stat().st_mtime_ns) for path in sorted((PROGRAMS / "doctor").glob("*.py"))]
    values: list[Any] = [
        boot,
        driver,
        machine.gpus,
        machine.devices,
        python,
        dict(versions),
        [root.st_dev, root.st_ino],
    ]
    return fingerprint([*values, compiler(env), {name: os.environ.get(name) for name in _VARIABLES}, ours])[:32]
