"""Everything that `alphaf doctor` asks of this machine, in the order in which one depends on the other."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from alphaf_orch import __version__
from alphaf_orch.core.cards import Cards, look_at_cards
from alphaf_orch.core.command import PROGRAM_ENV, child_env
from alphaf_orch.core.errors import HardwareError, ToolError
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import now
from alphaf_orch.planning.base import tool_python
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.doctor_model import ModelFindings, look_at_model
from alphaf_orch.runs.machine import host, room
from alphaf_orch.runs.machine.checks import Check, State, exit_code, refused
from alphaf_orch.runs.machine.compiler import judge_compiler, judge_libcuda, judge_triton_cache
from alphaf_orch.runs.machine.gpus import gpu_names, judge_bf16, judge_cards, judge_devices, judge_driver
from alphaf_orch.runs.machine.kernels import kernel_checks
from alphaf_orch.runs.machine.look import Answer, ask, failed
from alphaf_orch.runs.preflight import ATTENTION, check_attention, lacking
from alphaf_orch.settings.config import RunConfig, Tool

FORMAT = 1  # of the JSON; docs/doctor.md has its keys


@dataclass(frozen=True)
class Report:
    """All findings, and what the machine is by NVML."""

    checks: tuple[Check, ...]
    machine: Machine
    cards: Cards
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 where nothing failed, else the code of the first failure's kind of error."""
        return exit_code(self.checks)

    @property
    def state(self) -> State:
        """The worst state that a check is in; what was skipped says nothing."""
        states = {check.state for check in self.checks}
        return "fail" if "fail" in states else "warn" if "warn" in states else "ok"


@dataclass(frozen=True)
class _Environment:
    """One python, the tools that are run with it, and what its two programs answered."""

    python: str
    tools: Sequence[Tool]
    about: Answer
    view: Answer


def examine(config: RunConfig, paths: RunPaths | None) -> Report:
    """Return what was found; starts programs in each tool's environment and fetches nothing.

    Without `paths` no run and no model is meant, and of the settings `tools` alone are.
    Raises ConfigError or ModelError for settings and a model that mean nothing; all else is a finding.
    """
    begun = time.monotonic()
    cards = look_at_cards()
    machine, checks = _machine()
    model = look_at_model(config, paths, machine) if paths else ModelFindings()
    environments = _environments(config)
    for each in environments:
        checks += _of_environment(each, cards, machine, model.stages)
    checks += judge_cards(cards, machine)
    training = environments[0]
    devices = training.view.values.get("devices", ())
    names = gpu_names(cards, machine, len(devices))
    checks += kernel_checks(training.python, training.about.values.get("packages", {}), devices, names)
    gpus = len(devices)
    checks += [host.shared_memory(gpus), *host.limits(gpus), *room.disk(model.disk), room.memory(model.memory)]
    checks += [host.clock(), *model.checks, host.ports(), *host.names()]
    return Report(tuple(checks), machine, cards, time.monotonic() - begun)


def _machine() -> tuple[Machine, list[Check]]:
    """Return this machine, or one without GPUs and the finding that its driver does not answer."""
    try:
        return detect_machine(), []
    except HardwareError as error:
        return Machine((), len(os.sched_getaffinity(0))), [refused("driver", error)]


def _environments(config: RunConfig) -> list[_Environment]:
    """Return every tool's environment with what was seen there, axolotl's first; vLLM's where one is named."""
    tools: dict[str, list[Tool]] = {}
    for tool in get_args(Tool):
        if tool != "vllm" or "vllm" in config.tools:
            tools.setdefault(tool_python(config, tool), []).append(tool)
    answers = ask([(python, name) for python in tools for name in ("environment", "devices")])
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return [_Environment(python, tools[python], *pair) for python, pair in zip(tools, pairs, strict=True)]


def _of_environment(each: _Environment, cards: Cards, machine: Machine, stages: Sequence[Stage]) -> list[Check]:
    """Return what is to be said of one environment: python, packages, compiler, and its torch on driver and devices."""
    if each.about.trouble:
        return [failed("python", each.about, each.python)]
    about, view, python = each.about.values, each.view.values, each.python
    checks = [_python(each), _attention(about["packages"], python, stages)]
    if each.view.trouble:
        checks.append(failed("torch_gpus", each.view, python))
        return checks
    needed = any(stage.own_file and stage.own_file.values.get("bf16") is True for stage in stages)
    env, used = child_env(PROGRAM_ENV, online=False), bool(view["devices"])
    return [
        *checks,
        judge_driver(cards, view, python),
        judge_devices(cards, machine, view, python),
        judge_bf16(view, python, needed=needed),
        *judge_compiler(about, env, python, needed=used),
        judge_libcuda(env, python, needed=used),
        judge_triton_cache(env, python, needed=used),
    ]


def _python(each: _Environment) -> Check:
    packages = each.about.values["packages"]
    missing = sorted({name for tool in each.tools for name in lacking(tool, packages)})
    shown = ("axolotl", "trl", "unsloth", "mergekit", "torch", "transformers", "bitsandbytes", "vllm")
    versions = ", ".join(f"{name} {packages[name]}" for name in shown if name in packages)
    return Check(
        name="python",
        state="fail" if missing else "ok",
        evidence=f"python {each.about.values['python']} for {', '.join(each.tools)}: {versions}"
        + (f"; lacks {', '.join(missing)}" if missing else ""),
        fix="run `make setup` (or pip install 'alphaf-orch[cpu]' / '[gpu]'), or set `tools:`" if missing else "",
        subject=each.python,
        error=ToolError,
        values=packages,
    )


def _attention(packages: Mapping[str, str], python: str, stages: Sequence[Stage]) -> Check:
    """Return which attention packages are there, and whether that is what the recipe asks for."""
    there = [f"{name} ({package})" for name, package in ATTENTION.items() if package in packages]
    evidence = f"torch's own (sdpa, packed by varlen){''.join(f', {name}' for name in there)}"
    for stage in stages:
        if stage.name == "sft" and stage.argv[0] == python:
            try:
                check_attention(stage, packages)
            except ToolError as error:
                return refused("attention", error)
    return Check(name="attention", state="ok", evidence=evidence, subject=python)


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values; docs/doctor.md says what stays as it is under one `format`."""
    return {
        "format": FORMAT,
        "alphaf": __version__,
        "time": now(),
        "seconds": round(report.seconds, 1),
        "state": report.state,
        "exit_code": report.exit_code,
        "machine": {
            "gpus": list(report.machine.gpus),
            "cpus": report.machine.cpus,
            "driver": report.cards.driver,
            "driver_cuda": report.cards.cuda,
            "nvml_error": report.cards.problem,
        },
        "checks": [
            {
                "name": check.name,
                "subject": check.subject,
                "state": check.state,
                "evidence": check.evidence,
                "fix": check.fix,
                "exit_code": check.exit_code,
                "code": check.code,
                "values": dict(check.values),
            }
            for check in report.checks
        ],
    }
