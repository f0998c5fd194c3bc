"""What all commands share: each option declared once, the objects they are handed as, the consoles."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar, cast, get_type_hints

import click
from rich.console import Console

from alphaf_orch.cli.answer import answer, around
from alphaf_orch.core.masking import MaskedStream
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.spoken import say
from alphaf_orch.core.wording import Language

F = TypeVar("F", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number between bounds; click takes nan for one, and infinity where no bound forbids it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; fail for one that is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()


def declared(*flags: str, **settings: Any) -> partial[Any]:
    """Return an option that a command takes as it is, or with a help or default of its own."""
    return partial(click.option, *flags, **settings)


# By the name that a function or the field of an options object takes it under.
OPTIONS: dict[str, partial[Any]] = {
    "model": declared("--model", "-m", metavar="NAME|PATH|HUB_ID", help="A preset, a folder or a hub id."),
    "run": declared("--run", "-r", metavar="NAME", help="The run (a folder under ALPHAF_RUNS or ./runs)."),
    "config": declared("--config", "-c", type=click.Path(path_type=Path), help="A YAML file of settings."),
    "data": declared("--data", "-d", multiple=True, metavar="FILE|HUB_ID", help="Training data; repeatable."),
    "dpo_data": declared("--dpo-data", multiple=True, metavar="FILE|HUB_ID", help="Preference data."),
    "sets": declared("--set", "-s", "sets", multiple=True, metavar="KEY=VALUE", help="Override a recipe key."),
    "gpus": declared("--gpus", type=click.IntRange(min=0), help="GPUs; 0 is CPU. The global batch is kept."),
    "dpo_gpus": declared("--dpo-gpus", type=click.IntRange(min=0), help="GPUs for DPO (default one)."),
    "nodes": declared("--nodes", type=click.IntRange(min=1), help="Machines with --gpus each; run it on every one."),
    "trust_remote_code": declared(
        "--trust-remote-code", is_flag=True, help="Allow python code that comes with weights."
    ),
    "on_unhealthy": declared(
        "--on-unhealthy",
        type=click.Choice(["nan", "stop", "warn"]),
        help="End a training at NaN (the default), at whatever looks wrong, or at nothing.",
    ),
    "on_oom": declared(
        "--on-oom",
        type=click.Choice(["stop", "retry"]),
        help="Out of memory: stop, or halve the micro batch and go on.",
    ),
    "stall_timeout": declared(
        "--stall-timeout", type=Finite(min=0, min_open=True), metavar="SECONDS", help="End a stage that hangs so long."
    ),
    "allow_pickle": declared("--allow-pickle", is_flag=True, help="Allow weights that are pickles (.bin, .pt, .pth)."),
    "online": declared("--online", is_flag=True, envvar="ALPHAF_ONLINE", help="Allow fetching from the hub."),
    "name": declared("--name", metavar="NAME", help="The experiment's folder under ALPHAF_RUNS or ./runs."),
    "parallel": declared("--parallel", type=click.IntRange(min=1), metavar="N", help="Arms at a time (CPU 2, GPU 1)."),
    "suites": declared("--suite", "suites", multiple=True, metavar="NAME", help="A suite of tasks (finance-ko)."),
    "tasks": declared("--task", "tasks", multiple=True, metavar="NAME", help="A single task; repeatable."),
    "limit": declared("--limit", type=click.IntRange(min=1), metavar="N", help="The first N rows of each task."),
    "lang": declared("--lang", type=click.Choice(["ko", "en"]), default="ko", help="The report opens in it."),
    "output": declared(
        "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="The page; Markdown is put beside it."
    ),
    "cases": declared(
        "--cases", type=click.IntRange(min=0), default=3, show_default=True, help="Wins and losses shown of each kind."
    ),
    "max_new_tokens": declared("--max-new-tokens", type=click.IntRange(min=1)),
    "dry_run": declared("--dry-run", is_flag=True, help="Render everything, print it, launch nothing."),
    "full": declared("--full", is_flag=True, help="With --dry-run: show every rendered file and command."),
    "verbose": declared("--verbose", "-v", is_flag=True, help="Stream what the tools print."),
    "warm": declared("--warm/--no-warm", default=None, help="Import the tools once for all stages; on CPU alone."),
    "detach": declared("--detach", is_flag=True, help="Go on without this terminal; `alphaf attach` follows it."),
    "on": declared("--on", metavar="WHERE", help="local, slurm[:PROFILE], skypilot[:PROFILE] or kubernetes[:PROFILE]."),
    "wait": declared("--wait", is_flag=True, help="Follow the submitted jobs to their end."),
    "as_json": declared("--json", "as_json", is_flag=True, help="Print one JSON value, an error too."),
    "quiet": declared("--quiet", "-q", is_flag=True, help="Print the result and errors, nothing else."),
}


@dataclass(frozen=True, kw_only=True)
class How:
    """How a command goes about its work, whatever the work is; what it has no option for stays as it is here."""

    online: bool = False
    dry_run: bool = False
    full: bool = False
    verbose: bool = False
    detach: bool = False
    wait: bool = False
    as_json: bool = False
    quiet: bool = False
    warm: bool | None = None  # None: as the settings have it
    lang: Language = "ko"


def option(name: str, **changes: Any) -> Callable[[F], F]:
    """Return a decorator that gives a command a shared option, with a help or default of its own."""
    return cast("Callable[[F], F]", OPTIONS[name](**changes))


def with_options(*names: str) -> Callable[[F], F]:
    """Return a decorator that gives a command the named options, in that order."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = option(name)(function)
        return function

    return decorate


def command(name: str | None = None) -> Callable[[Callable[..., None]], click.Command]:
    """Return a decorator that makes a function a command.

    What it takes as a dataclass is made of the options that are its fields; the other options it takes by name.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        kinds: dict[str, Any] = {taken: kind for taken, kind in get_type_hints(function).items() if is_dataclass(kind)}

        @functools.wraps(function)
        def call(**given: Any) -> None:
            as_json, quiet = (bool(given.get(name)) for name in ("as_json", "quiet"))
            objects = {
                taken: kind(**{field.name: given.pop(field.name) for field in fields(kind) if field.name in given})
                for taken, kind in kinds.items()
            }
            if any(isinstance(made, How) and made.full and not made.dry_run for made in objects.values()):
                raise click.UsageError("--full shows more of a dry run: add --dry-run, or leave it out.")
            if any(isinstance(made, How) and made.detach for made in objects.values()):
                _detach(as_json=as_json)
            else:
                with around(as_json=as_json, quiet=quiet):
                    function(**objects, **given)

        return click.command(name or function.__name__)(call)

    return decorate


def _detach(*, as_json: bool) -> None:
    """Have the same command go on without this terminal; return once it holds its run, exit with it where it ended."""
    from alphaf_orch.core.calls import read_call
    from alphaf_orch.core.detached import start_detached

    log = start_detached()
    if isinstance(log, int):
        sys.exit(log)
    call, name = read_call(log), log.parents[1].relative_to(runs_dir())
    if as_json:
        answer("detached", {"run": str(name), "log": str(log), "holder": str(call.holder) if call else None})
        return
    say(f"{name}: goes on without this terminal ({call.holder if call else 'it has ended'}), log {log}")
    say(f"follow it:  alphaf attach {name}")


def log_console() -> Console:
    """Return the console for progress and notes: stderr."""
    return _console(sys.stderr)


def out_console() -> Console:
    """Return the console for results: stdout."""
    # Wide where nobody's terminal sets the width, so that tables in a CI log are not folded.
    from alphaf_orch.core.progress import RESULTS

    made = _console(sys.stdout, width=None if sys.stdout.isatty() else 140)
    RESULTS.add(made)
    return made


def _console(stream: IO[str], width: int | None = None) -> Console:
    # What stands in brackets or between colons is a name, a path or a text of somebody: no markup and no emoji.
    return Console(file=_masked(stream), width=width, markup=False, emoji=False)


def _masked(stream: IO[str]) -> IO[str]:
    return cast("IO[str]", MaskedStream(stream))
