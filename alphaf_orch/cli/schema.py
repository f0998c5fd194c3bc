"""`alphaf schema`: parse, call one function, print."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, with_options
from alphaf_orch.core.json_schema import Schema, document, of_model
from alphaf_orch.core.spoken import say, spoken
from alphaf_orch.evaluation.tasks.schema import task_schema
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.planning.preset_schema import preset_schema
from alphaf_orch.settings.schema import cluster_schema, config_schema

SCHEMAS: dict[str, tuple[str, Callable[[], Schema]]] = {
    "config": ("the settings of a run: --config FILE", config_schema),
    "preset": ("a model preset: models/NAME.yaml of a templates folder", preset_schema),
    "task": ("a benchmark task or a group of them: eval/**.yaml of a templates folder", task_schema),
    "judge": ("a judge: judge/NAME.yaml of a templates folder", lambda: of_model(JudgePreset)),
    "cluster": ("a site's scheduler: clusters/NAME.yaml of a templates folder, or --on SCHEDULER:FILE", cluster_schema),
}


def schema_text(name: str) -> str:
    """Return the JSON schema of that name, as it is printed and published."""
    return json.dumps(document(name, SCHEMAS[name][1]()), indent=1, ensure_ascii=False)


@command()
@click.argument("name", required=False, type=click.Choice(tuple(SCHEMAS)))
@with_options("as_json")
def schema(name: str | None, as_json: bool) -> None:
    """Print the JSON schema by which editors complete and check a YAML file of yours; without NAME list them.

    Save it beside the file as NAME.schema.json, and begin the file with the line

      # yaml-language-server: $schema=./NAME.schema.json
    """
    if name is not None and as_json:
        answer("schema", {"name": name, "document": document(name, SCHEMAS[name][1]())})
        return
    if name is not None:
        click.echo(schema_text(name))
        say(f"for editors: save it as {name}.schema.json beside your file, whose first line is", err=True)
        click.echo(header(name), err=True)
        return
    rows = [{"name": each, "of": about} for each, (about, _) in SCHEMAS.items()]
    if as_json:
        answer("schemas", {"schemas": rows})
        return
    for row in rows:
        click.echo(f"{row['name']:8} {spoken(row['of'])}")


def header(name: str) -> str:
    """Return the line by which an editor finds the schema of a file beside it."""
    return f"# yaml-language-server: $schema=./{name}.schema.json"
