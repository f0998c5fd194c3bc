"""`alphaf job`: what a job of a scheduler runs on each of its machines; no command for people."""

from __future__ import annotations

import click

from alphaf_orch.cli.options import command


@command()
@click.argument("run")
@click.argument("name")
def job(run: str, name: str) -> None:
    """Do what a submitted job is for: make its stage of a run, or call alphaf with what its record says."""
    raise NotImplementedError
