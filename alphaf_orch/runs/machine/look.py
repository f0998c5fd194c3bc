"""Has the programs of `programs/doctor` look at the machine in a tool's own environment, and reads what they said."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.command import PROGRAM_ENV, Probed, child_env, probes, program
from alphaf_orch.core.errors import AlphafError, ToolError
from alphaf_orch.runs.launch import said_of
from alphaf_orch.runs.machine.checks import Check
from alphaf_orch.runs.tracebacks import oom_hint

# Ours: a cold import of torch from a network disk takes a minute, and so does the start of eight cards without
# persistence mode. What takes longer hangs.
SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """What a program found out, or why there is nothing of it."""

    values: Mapping[str, Any]
    trouble: str = ""
    fix: str = ""


def ask(programs: Sequence[tuple[str, ...]], seconds: float = SECONDS) -> list[Answer]:
    """Return what each program answered, all run side by side; each is (python, name, arguments)."""
    argvs = [program(python, f"doctor.{name}", *arguments) for python, name, *arguments in programs]
    return [_answer(probed, seconds) for probed in probes(argvs, child_env(PROGRAM_ENV, online=False), seconds)]


def _answer(probed: Probed, seconds: float) -> Answer:
    lines = [line.rstrip() for line in probed.output.splitlines()]
    if probed.exit_code == 0:
        for line in reversed(lines):
            with contextlib.suppress(ValueError):  # what a library prints at its end
                found = json.loads(line)
                if isinstance(found, dict):
                    return Answer(found)
        return Answer({}, "it ended without an answer", _fix_for(""))
    trouble, fix = _trouble(probed.exit_code, lines, seconds)
    warned = [reason for line in lines if (reason := line.partition(_NCCL)[2])]
    return Answer({}, f"{trouble}; NCCL: {warned[-1]}" if warned else trouble, fix)


def _trouble(code: int | None, lines: Sequence[str], seconds: float) -> tuple[str, str]:
    """Return why a program answered nothing, and what to do."""
    if code is None:
        last = next((f"; its last words: {line}" for line in reversed(lines) if line), "")
        return f"it did not end in {seconds:.0f} s and was killed{last}", _HANGS
    if code < 0:
        return f"it died of signal {-code} ({_signal(-code)}){oom_hint(code)}", _DIED
    if code == 127:
        return "python cannot be run (exit code 127)", _NO_PYTHON
    told = said_of(lines).text or f"it ended with exit code {code}"
    what, *more = told.splitlines()
    own = [line.removeprefix(_NEXT).strip() for line in more if line.startswith(_NEXT)]
    return what, own[0] if own else _fix_for(told)


_NEXT = "  next:"  # of our own error block, behind what and where
_NCCL = "NCCL WARN "  # why a collective failed; torch's own words are mostly "unhandled system error"
_HANGS = "look for a driver, network disk or card that does not answer: dmesg, nvidia-smi"
_DIED = "a library of that environment does not fit this machine: install the versions of requirements/gpu.lock"
_NO_PYTHON = "check `tools:` in the config: each is the path of an environment's python"


def _signal(number: int) -> str:
    known = {each.value: each.name for each in signal.Signals}
    return known.get(number, "unknown")


def _fix_for(told: str) -> str:
    if "ModuleNotFoundError" in told or "ImportError" in told:
        return "run `make setup` (or pip install 'alphaf-orch[cpu]' / '[gpu]'), or set `tools:` in the config"
    return "see docs/doctor.md; the versions that work together are in requirements/gpu.lock"


def failed(name: str, answer: Answer, subject: str, error: type[AlphafError] = ToolError) -> Check:
    """Return the check of a program that answered nothing."""
    return Check(name=name, state="fail", evidence=answer.trouble, fix=answer.fix, subject=subject, error=error)


def kernel_check(name: str, answer: Answer, subject: str, error: type[AlphafError] = ToolError) -> Check:
    """Return whether a kernel ran on its card, with what it measured."""
    if answer.trouble:
        return failed(name, answer, subject, error)
    values, evidence = answer.values, "ran"
    if "tflops" in values:
        evidence = f"{values['tflops']:.0f} TFLOP/s of bf16 matrix work ({values['size']} x {values['size']})"
    elif "bus_gb_per_s" in values:
        speed = f", {values['bus_gb_per_s']:.0f} GB/s on the bus" if values["ranks"] > 1 else ""
        evidence = f"the sum over {values['ranks']} process{'' if values['ranks'] == 1 else 'es'} is right{speed}"
    elif "error" in values:
        version = next((f"{key} {value} " for key, value in values.items() if key == name), "")
        evidence = f"{version}ran, off by {values['error']:.2%} of plain torch in float32"
    return Check(name=name, state="ok", evidence=evidence, subject=subject, values=values)
