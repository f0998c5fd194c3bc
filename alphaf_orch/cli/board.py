"""`alphaf board`: parse, call one function, print."""

from __future__ import annotations

import getpass
import os
import sys

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, with_options
from alphaf_orch.core.signals import CODE, asked_by
from alphaf_orch.core.signals import name as asked_by_name
from alphaf_orch.core.spoken import say


@command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Of 127.0.0.1; unless said, a free one."
)
@with_options("as_json")
@click.option("--control", is_flag=True, help="Let the page stop a run: it ends with a checkpoint.")
def board(port: int, control: bool, as_json: bool) -> None:
    """Show the runs and what they do in a browser: a local page on 127.0.0.1, read-only, that asks nobody else.

    It goes on until Ctrl-C. The address that it prints is the key to it: whoever has it may look.
    """
    from alphaf_orch.board.serve import serve  # here: the help needs no web server

    try:
        serve(port, _say_json if as_json else _say, control=control)
    except KeyboardInterrupt:
        say(f"the board has ended ({asked_by_name() if asked_by() else 'Ctrl-C'})", err=True)
        sys.exit(CODE)


def _say(token: str, port: int) -> None:
    say(f"board: http://127.0.0.1:{port}/?token={token}")
    host = os.uname().nodename
    say(f"from another machine: ssh -L {port}:127.0.0.1:{port} {_user()}{host}  and open the same address there")
    say("Ctrl-C ends it; runs go on all the same")
    sys.stdout.flush()


def _say_json(token: str, port: int) -> None:
    answer("board", {"url": f"http://127.0.0.1:{port}/?token={token}", "port": port, "token": token}, now=True)


def _user() -> str:
    try:
        return f"{getpass.getuser()}@"
    except (OSError, KeyError):  # a number without a name, in a container
        return ""
