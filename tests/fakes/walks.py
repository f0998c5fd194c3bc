"""The walks of docs/walks.md and its Korean page: the commands of a page, run in one folder, and what they printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

REPO = Path(__file__).resolve().parents[2]
PAGES = {"en": REPO / "docs" / "walks.md", "ko": REPO / "docs" / "walks.ko.md"}
_FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HERE = re.compile(r"<<'(\w+)'")
_END = "\x1e"
# Where there is no terminal a line begins with its time, and progress is said now and then; a page has neither.
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 ", re.MULTILINE)
_PROGRESS = re.compile(r"^(?:sft|dpo|eval_\w+)  .*\n", re.MULTILINE)
# What two machines, or two days, do not have alike; `6.974` keeps its first figure.
_VARYING = [
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:[KMG]iB|s|min|h|tokens/s|초|분|시간)(?![a-z])"), "…"),
    (re.compile(r"alphaf-night-\w+"), "…"),
    (re.compile(r"prepared/\w+"), "prepared/…"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "…"),
    (re.compile(r"(?<![\d:.-])\d+:\d\d(?![\d:])"), "…"),
    (re.compile(r"\b(\d+\.)\d{3}\b"), r"\1…"),
]


@dataclass(frozen=True)
class Step:
    """One command of a page and what the page says that it prints."""

    command: str
    printed: str


def walks(text: str) -> list[list[Step]]:
    """Return the walks of a page, one a heading with fences, each as its steps in their order."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    found = [[step for fence in _FENCE.findall(section) for step in _steps(fence)] for section in sections]
    return [steps for steps in found if steps]


def _steps(fence: str) -> list[Step]:
    steps, lines = [], fence.splitlines()
    while lines:
        command = [lines.pop(0).removeprefix("$ ")]
        if here := _HERE.search(command[0]):
            end = lines.index(here[1]) + 1
            command, lines = command + lines[:end], lines[end:]
        count = next((at for at, line in enumerate(lines) if line.startswith("$ ")), len(lines))
        steps.append(Step("\n".join(command), "\n".join(lines[:count])))
        lines = lines[count:]
    return steps


def prepare(place: Path, python: Path) -> None:
    """Make a folder look like a checkout after `make setup`, as far as the walks see it."""
    programs = place / ".venv" / "bin"
    programs.mkdir(parents=True)
    _program(programs / "alphaf", f"#!{python}\nfrom alphaf_orch.cli.start import main\n\nmain()\n")
    _program(programs / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for folder in ("docs", "templates"):
        (place / folder).symlink_to(REPO / folder)


def _program(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)


def walk(place: Path, steps: list[Step], language: str) -> list[str]:
    """Run the commands of a walk in one shell; return what each printed, as a page has it."""
    ends = "__ended=$?; printf '\\036'; (exit $__ended)"
    script = "\n".join(f"{step.command}\n{ends}" for step in steps)
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=_environment(place, language), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=900, check=False,
    )  # fmt: skip
    return [_shown(each, place) for each in done.stdout.split(_END)[: len(steps)]]


def _environment(place: Path, language: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ALPHAF_", "HF_", "MAKE"))}
    own = {"PYTHONPATH": str(REPO), "ALPHAF_LANG": language, "ALPHAF_CACHE": str(place / "cache")}
    # The threads of a toy model spend their time waiting for each other.
    return kept | own | {"HF_HOME": str(place / "hf"), "OMP_NUM_THREADS": "1"}


def _shown(printed: str, place: Path) -> str:
    for folder in (place, REPO, Path(tempfile.gettempdir())):
        printed = printed.replace(f"{folder}/", "…/")
    printed = re.sub(r"…/alphaf-warm-\w+/\w+/hf\b", "…/hf", printed)  # the warm parent's, where a test has none
    return "\n".join(line.rstrip() for line in _PROGRESS.sub("", _STAMP.sub("", printed)).splitlines())


def matches(expected: str, printed: str) -> bool:
    """Return whether a command printed what the page says; `…` is anything, alone on a line any lines."""
    pattern = "\n".join(".*" if line.strip() == "…" else _loose(line) for line in _plain(expected).split("\n"))
    pattern = pattern.replace("\n.*", "(?:\n.*)?").replace(".*\n", "(?:.*\n)?")
    return bool(re.fullmatch(pattern, _plain(printed), re.DOTALL))


def _loose(line: str) -> str:
    return re.escape(line).replace("…", r"[^\n]*?")


def _plain(text: str) -> str:
    return re.sub(r"([━─ ])\1+", r"\1", text)


def rewritten(text: str, printed: list[list[str]]) -> str:
    """Return a page with what was printed, but for lines that it leaves out; what varies becomes `…`."""
    at = 0
    for steps, outputs in zip(walks(text), printed, strict=True):
        for step, output in zip(steps, outputs, strict=True):
            old = "\n".join(filter(None, [f"$ {step.command}", step.printed])) + "\n"
            left_out = "…" in step.printed.split("\n") and matches(step.printed, output)
            said = step.printed if left_out else _varied(output)
            new = "\n".join(filter(None, [f"$ {step.command}", said])) + "\n"
            at = text.index(old, at)
            text = text[:at] + new + text[at + len(old) :]
            at += len(new)
    return text


def _varied(output: str) -> str:
    return "\n".join(map(_with_gaps, output.split("\n")))


def _with_gaps(line: str) -> str:
    if line.startswith("│"):  # a table keeps its columns
        return "│".join(_gap(cell) + " " * (cell_len(cell) - cell_len(_gap(cell))) for cell in line.split("│"))
    return _gap(line)


def _gap(text: str) -> str:
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text
