"""`alphaf attach`: parse, call one function, print."""

from __future__ import annotations

import sys

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, with_options
from alphaf_orch.cli.wait import follow_jobs
from alphaf_orch.core.called import as_called
from alphaf_orch.core.signals import CODE
from alphaf_orch.core.spoken import say, spoken
from alphaf_orch.core.streams import VIEWER_GONE, viewer_gone
from alphaf_orch.runs.attach import attached_call, follow
from alphaf_orch.runs.follow import root_of
from alphaf_orch.runs.jobs import any_open, ask, with_arms


@command()
@click.argument("run")
@with_options("as_json")
def attach(run: str, as_json: bool) -> None:
    """Follow the alphaf that works on a run or an experiment, detached or not, and end with its exit code.

    Ctrl-C leaves it alone. Of one that has ended, what it said last is repeated. Where jobs of a scheduler wait or work
    on it, their lines and states are followed to the last one's end, and the code is what a call here would end with.
    """
    paths = root_of(run)
    if any_open(ask(with_arms(paths.root))):
        code = follow_jobs(run, say=_say)
        if as_json:
            answer("attach", {"run": run, "exit_code": code, "command": None, "holder": None})
        sys.exit(code)
    call = attached_call(paths)
    click.echo(f"{as_called(call.command)}  ({spoken(str(call.holder))})", err=True)
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
    if as_json:
        about = {"command": call.command, "holder": str(call.holder)}
        answer("attach", {"run": run, "exit_code": call.code, **about})
    sys.exit(call.code)


def _say(text: str) -> None:
    say(text)
    if viewer_gone():
        sys.exit(VIEWER_GONE)
