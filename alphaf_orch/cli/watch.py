"""`alphaf watch`: parse, look at the runs folder, show it again each second."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

import click
from rich.console import Console, RenderableType

from alphaf_orch.board.payload import look_json
from alphaf_orch.board.state import Folder, Snapshot
from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, out_console, with_options
from alphaf_orch.cli.watch_view import View, detail, overview
from alphaf_orch.core import signals
from alphaf_orch.core.names import named_folder
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.streams import VIEWER_GONE, viewer_gone
from alphaf_orch.experiments.experiment import is_experiment
from alphaf_orch.runs.find import existing_run

_EVERY_S = 1.0
_POLL_S = 0.1  # how soon a terminal of another size is drawn anew
# Ours: how long a single look waits until every run is read and a scheduler has said how its jobs stand; squeue takes
# some 0.1 s, on a loaded machine seconds.
_WHOLE_S = 5.0


@command()
@click.argument("run", required=False)
@click.option("--once", is_flag=True, help="Show it once and end, as where there is no terminal.")
@with_options("as_json")
def watch(run: str | None, once: bool, as_json: bool) -> None:
    """Show what works in the runs folder, or one run or experiment in detail, again each second; Ctrl-C leaves it.

    Without a terminal, and with --json, it is shown once.
    """
    experiment, one = "", ""
    if run and is_experiment(run):
        experiment = named_folder(runs_dir(), run).name
    elif run:
        one = existing_run(run).full_name
    console, folder = out_console(), Folder()
    if as_json:
        look = _whole(folder)
        within = [each.name for each in look.runs if each.name == one or (experiment and each.experiment == experiment)]
        answer("watch", look_json(look, within if run else None, experiment))
        return

    def shown(look: Snapshot) -> RenderableType:
        size = console.size
        live = console.is_terminal and not once
        view = View(size.width, size.height if live else 0, (console.encoding or "").startswith("utf"))
        found = folder.run(one)
        if found:
            return detail(look, found, folder.curve, view)
        return overview(look, folder.curve, view, experiment)

    if once or not console.is_terminal or console.is_dumb_terminal:
        console.print(shown(_whole(folder)))
        return
    _follow(console, folder, shown)


def _whole(folder: Folder) -> Snapshot:
    """Return a look that has read every run, as far as that is to be had in some seconds."""
    begun = time.monotonic()
    while True:
        look = folder.look()
        whole = not look.asking and all(run.state != "unread" for run in look.runs)
        if whole or time.monotonic() - begun > _WHOLE_S:
            return look
        time.sleep(_POLL_S)


def _follow(console: Console, folder: Folder, shown: Callable[[Snapshot], RenderableType]) -> None:
    from rich.live import Live

    look = folder.look()
    try:
        with Live(shown(look), console=console, auto_refresh=False, screen=True) as live:
            while not viewer_gone():
                look = folder.look()
                live.update(shown(look), refresh=True)
                _wait(console)
    except KeyboardInterrupt:
        if signals.asked_by() != signal.SIGINT:
            raise
        console.print(shown(look))  # what was seen last stays
        return
    sys.exit(VIEWER_GONE)


def _wait(console: Console) -> None:
    """Wait until the next look is due, or the terminal has another size."""
    size, end = console.size, time.monotonic() + _EVERY_S
    while time.monotonic() < end and console.size == size:
        time.sleep(_POLL_S)
