"""What all commands share: their options, the consoles they print to, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])


def with_options(*names: str) -> Callable[[F], F]:
    """Return a decorator that gives a command the named options, in that order."""
    known = {
        "model": click.option("--model", "-m", metavar="NAME|PATH|HUB_ID", help="A preset, a folder or a hub id."),
        "run": click.option("--run", "-r", metavar="NAME", help="The run (a folder under ALPHAF_RUNS or ./runs)."),
        "config": click.option("--config", "-c", type=click.Path(path_type=Path), help="A YAML file of settings."),
        "data": click.option("--data", "-d", multiple=True, metavar="FILE|HUB_ID", help="Training data; repeatable."),
        "dpo_data": click.option("--dpo-data", multiple=True, metavar="FILE|HUB_ID", help="Preference data."),
        "set": click.option("--set", "-s", "sets", multiple=True, metavar="KEY=VALUE", help="Override a recipe key."),
        "gpus": click.option("--gpus", type=click.IntRange(min=0), help="GPUs; 0 is CPU. The global batch is kept."),
        "dpo_gpus": click.option("--dpo-gpus", type=click.IntRange(min=0), help="GPUs for DPO (default one)."),
        "trust": click.option("--trust-remote-code", is_flag=True, help="Allow python code that comes with weights."),
        "online": click.option("--online", is_flag=True, envvar="ALPHAF_ONLINE", help="Allow fetching from the hub."),
        "dry_run": click.option("--dry-run", is_flag=True, help="Render everything, print it, launch nothing."),
        "verbose": click.option("--verbose", "-v", is_flag=True, help="Stream what the tools print."),
        "json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    }  # fmt: skip

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = known[name](function)
        return function

    return decorate


def log_console() -> Console:
    """Return the console for progress and notes: stderr."""
    from rich.console import Console

    return Console(file=_masked(sys.stderr))


def out_console() -> Console:
    """Return the console for results: stdout."""
    from rich.console import Console

    # Wide where nobody's terminal sets the width, so that tables in a CI log are not folded.
    out = _masked(sys.stdout)
    return Console(file=out) if sys.stdout.isatty() else Console(file=out, width=140)


def _masked(stream: IO[str]) -> IO[str]:
    from alphaf_orch.core.masking import MaskedStream

    return cast("IO[str]", MaskedStream(stream))


def echo_json(value: Any) -> None:
    """Print a value as JSON, Korean as it is."""
    from alphaf_orch.core.masking import mask_values

    click.echo(json.dumps(mask_values(value), indent=1, ensure_ascii=False))
