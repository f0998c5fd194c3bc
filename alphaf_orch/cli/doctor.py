"""`alphaf doctor`: parse, call one function, print."""

from __future__ import annotations

import sys

from rich.cells import cell_len
from rich.console import Console

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, out_console, with_options
from alphaf_orch.core.spoken import spoken
from alphaf_orch.runs.doctor import Report, examine, report_json
from alphaf_orch.runs.machine.checks import Check
from alphaf_orch.settings.config import build_config, read_config
from alphaf_orch.settings.options import Options, settings

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}
_STATE = 8
_NAME = max(len(name) for name in ("bitsandbytes", "pinned_memory", "korean_paths"))


@command()
@with_options("model", "run", "config", "gpus", "as_json")
def doctor(options: Options, as_json: bool) -> None:
    """Look at this machine before a run: one line a check, what was seen and what to do; fetches nothing."""
    file = read_config(options.config) if options.config else {}
    if options.model or options.run or file.get("model"):
        report = examine(*settings(options))
    else:  # the machine alone, in the environments that a config file names
        report = examine(build_config({**file, "model": ""}, str(options.config)), None)
    if as_json:
        answer("doctor", report_json(report))
    else:
        _print(out_console(), report)
    sys.exit(report.exit_code)


def _print(console: Console, report: Report) -> None:
    """Print one line a check, behind it what to do where there is something."""
    for check in report.checks:
        state = spoken(check.state)
        console.print(state + " " * (_STATE - cell_len(state)), style=_STYLE[check.state], end="", highlight=False)
        _print_as_said(console, _line(check))
        if check.fix and check.state in ("warn", "fail"):
            _print_as_said(console, f"{'':<{_STATE}}{'':<{_NAME}}  {spoken(f'do: {check.fix}')}")
    count = {state: sum(check.state == state for check in report.checks) for state in _STYLE}
    summary = ", ".join(f"{number} {spoken(state)}" for state, number in count.items() if number)
    _print_as_said(console, f"{summary}; {spoken(f'{report.seconds:.1f} s')}")


def _line(check: Check) -> str:
    subject = f" [{spoken(check.subject)}]" if check.subject else ""
    return f"{check.name:<{_NAME}}  {spoken(check.evidence)}{subject}"


def _print_as_said(console: Console, line: str) -> None:
    """Print a line of which each text is said already: a name or a state in it is taken for no text."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)
