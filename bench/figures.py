"""What every bench shares: a command measured, this machine and its versions, figures as JSON and as a table.

A bench is `python bench/NAME.py [--json FILE]`: it prints its table and writes the same figures to FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # the package as it stands here, whether or not it is installed


@dataclass(frozen=True)
class Cost:
    """What a command cost: seconds on the clock and of processors, MiB of its largest process, how it ended."""

    seconds: float
    cpu_seconds: float
    peak_mib: int
    exit_code: int
    said: str


def cost(argv: Sequence[str], env: Mapping[str, str] | None = None, *, may_fail: bool = False) -> Cost:
    """Return what the command and all that it started cost; raise SystemExit with its last words where it failed.

    Processor seconds are what load of others disturbs least: every table shows both.
    """
    environment = {**os.environ, "PYTHONPATH": str(REPO), **(env or {})}
    begun = time.monotonic()
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code and not may_fail:
        raise SystemExit(f"{' '.join(argv)} ended with {code}:\n{said[-4000:]}")
    return Cost(round(seconds, 2), round(usage.ru_utime + usage.ru_stime, 2), usage.ru_maxrss // 1024, code, said)


def machine(*packages: str) -> dict[str, Any]:
    """Return what the figures depend on besides us: processors, memory, system, python and the named packages."""
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_line("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "system": platform.platform(terse=True),
        "load_before": round(os.getloadavg()[0], 1),
        "versions": versions,
    }


def _line(file: str, key: str) -> str:
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table; the first row's keys are its columns."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_shown(row.get(key, "")) for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def arguments(what: str | None) -> argparse.ArgumentParser:
    """Return the parser of a bench: what all of them take."""
    parser = argparse.ArgumentParser(description=(what or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


def publish(bench: str, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], file: Path | None) -> None:
    """Print the figures as a table below the machine they are of; write both to `file`."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    print(f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}; {versions}")
    print(f"load before: {about['load_before']}\n\n{table(rows)}")
    if file:
        file.write_text(json.dumps({"bench": bench, "machine": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def as_row(what: str, measured: Cost) -> dict[str, Any]:
    """Return a row of a table of what was measured, without its words."""
    return {"what": what} | {key: value for key, value in asdict(measured).items() if key not in ("said", "exit_code")}
