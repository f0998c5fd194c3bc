"""`alphaf report` and `alphaf compare`: parse, call one function, print."""

from __future__ import annotations

import click


@click.command()
def report() -> None:
    """Write what a run was worth as one HTML page and as Markdown."""


@click.command()
def compare() -> None:
    """Write two runs side by side."""
