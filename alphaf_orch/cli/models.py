"""`alphaf models` and `alphaf models add`: parse, call one function, print."""

from __future__ import annotations

import os
from pathlib import Path

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, out_console, with_options
from alphaf_orch.cli.views import model_json, print_models
from alphaf_orch.core.called import as_typed, quoted
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.names import expanded
from alphaf_orch.core.paths import cache_dir, template_folders
from alphaf_orch.core.spoken import say, spoken
from alphaf_orch.inputs.presets import readable_presets
from alphaf_orch.inputs.weights import weights_state


@command("models")
@with_options("as_json")
def listing(as_json: bool) -> None:
    """List the model presets, and whether their weights are on this machine.

    A preset that cannot be read is named with its file and line behind the others.
    """
    context = click.get_current_context()
    if context.invoked_subcommand:  # `models --json add PATH` asks for it as `models add PATH --json` does
        context.default_map = {context.invoked_subcommand: {"as_json": as_json}}
        return
    presets, unreadable = readable_presets(tuple(folder / "models" for folder in template_folders()))
    rows = [model_json(preset, weights_state(preset, cache_dir() / "models", os.environ)) for preset in presets]
    if as_json:
        bad = [
            {"name": name, "what": error.what, "where": error.where, "next": error.fix, "code": error.code}
            for name, error in unreadable.items()
        ]
        answer("models", {"models": rows, "unreadable": bad})
        return
    print_models(out_console(), rows)
    for name, error in unreadable.items():
        say(f"{name} cannot be read: {error.what}", err=True)
        say(f"  where: {error.where}", err=True)


@command()
@click.argument("path", metavar="PATH")
@click.option("--name", metavar="NAME", help="The preset's name; the folder's unless given.")
@click.option(
    "--templates",
    type=click.Path(path_type=Path),
    envvar="ALPHAF_TEMPLATES",
    metavar="FOLDER",
    help="Your templates folder (ALPHAF_TEMPLATES); the preset is written into its models/.",
)
@with_options("as_json")
def add(path: str, name: str | None, templates: Path | None, as_json: bool) -> None:
    """Write a preset from the files of the model in the folder PATH, for a person to check.

    Nothing of the model is executed, nothing is fetched, nothing is overwritten.
    """
    from alphaf_orch.inputs.added_preset import add_preset  # which the list needs not

    if templates is None:
        raise ConfigError(
            "no templates folder of yours is named",
            where="--templates",
            fix="say --templates FOLDER, a new or an existing one, or set ALPHAF_TEMPLATES",
            code="config.no_templates_folder",
        )
    folder = expanded(templates).absolute()
    known = [*([folder / "models"] if folder.is_dir() else []), template_folders()[-1] / "models"]
    made = add_preset(path, name, folder, known)
    then = [as_typed(f"alphaf plan --model {made.preset.name}")]
    if expanded(os.environ.get("ALPHAF_TEMPLATES", "")).absolute() != folder:
        then.insert(0, f"export ALPHAF_TEMPLATES={quoted(str(folder))}")
    if as_json:
        told = {"name": made.preset.name, "file": str(made.file), "checks": list(made.checks), "next": then}
        answer("models-add", told)
        return
    click.echo(made.file)
    say("check every line; first:")
    for each in made.checks:
        say(f"  {each}")
    say(f"{spoken('next')}:")
    for line in then:
        say(f"  {line}")


models = click.Group(
    "models", callback=listing.callback, params=listing.params, help=listing.help, invoke_without_command=True,
    commands=[add],
)  # fmt: skip
