"""`alphaf attach`: parse, call one function, print."""

from __future__ import annotations

import sys

import click

from alphaf_orch.cli.options import command
from alphaf_orch.cli.wait import follow_jobs
from alphaf_orch.core.signals import CODE
from alphaf_orch.core.spoken import say
from alphaf_orch.core.streams import VIEWER_GONE, viewer_gone
from alphaf_orch.runs.attach import attached_call, follow
from alphaf_orch.runs.follow import root_of
from alphaf_orch.runs.jobs import any_open, ask, with_arms


@command()
@click.argument("run")
def attach(run: str) -> None:
    """Follow the alphaf that works on a run or an experiment, detached or not, and end with its exit code.

    Ctrl-C leaves it alone. Of one that has ended, what it said last is repeated. Where jobs of a scheduler wait or work
    on it, their lines and states are followed to the last one's end, and the code is what a call here would end with.
    """
    paths = root_of(run)
    if any_open(ask(with_arms(paths.root))):
        sys.exit(follow_jobs(run, say=_say))
    call = attached_call(paths)
    click.echo(f"{call.command}  ({call.holder})", err=True)
    try:
        for text in follow(call):
            sys.stdout.write(text)
            sys.stdout.flush()
            if viewer_gone():
                sys.exit(VIEWER_GONE)
    except KeyboardInterrupt:
        left = f"left alone: {run} goes on ({call.holder}); `alphaf attach {run}` follows it again"
        say(left, err=True)
        sys.exit(CODE)
    sys.exit(call.code)


def _say(text: str) -> None:
    say(text)
    if viewer_gone():
        sys.exit(VIEWER_GONE)
