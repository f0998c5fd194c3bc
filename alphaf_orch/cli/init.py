"""`alphaf init`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, option, with_options
from alphaf_orch.core.spoken import language, say, spoken
from alphaf_orch.planning.start_folder import start_folder


@command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@option("model", default="tiny", show_default=True)
@with_options("as_json")
def init(folder: Path, model: str, as_json: bool) -> None:
    """Write a folder to start from: commented settings, an example of data, a walk-through; say the next commands.

    DIR is a new folder, or an empty one; nothing is overwritten.
    """
    made = start_folder(folder, model, language())
    if as_json:
        files = [str(file) for file in made.files]
        answer("init", {"folder": str(made.folder), "files": files, "next": list(made.next)})
        return
    for file in made.files:
        click.echo(file)
    say(f"{spoken('next')}:")
    for line in made.next:
        click.echo(f"  {line}")
