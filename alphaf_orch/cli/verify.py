"""`alphaf verify`: parse, call one function, print."""

from __future__ import annotations

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, out_console, with_options
from alphaf_orch.cli.views import print_verified, verified_json
from alphaf_orch.core.spoken import say
from alphaf_orch.runs.find import existing_run
from alphaf_orch.runs.whole import record_run, refusal, verify_run


@command()
@click.argument("run")
@click.option("--record", is_flag=True, help="Keep hashes of stages that have none: those of an earlier version.")
@with_options("as_json")
def verify(run: str, record: bool, as_json: bool) -> None:
    """Read every file of a run and compare it with what was written; each damaged one is named (exit code 6).

    Without hashes (runs of earlier versions) the form of the files is judged.
    """
    paths = existing_run(run)
    new = record_run(paths) if record else ()
    found = []
    for part in verify_run(paths):
        found.append(part)
        if not as_json:
            print_verified(out_console(), part, paths.root)
    if as_json:
        answer("verify", verified_json(found, new))
    elif new:
        say(f"hashes recorded of: {', '.join(new)}")
    error = refusal(found, paths)
    if error:
        raise error
