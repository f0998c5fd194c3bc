"""`alphaf judge`: parse, call one function, print."""

from __future__ import annotations

import click


@click.command()
def judge() -> None:
    """Let a judge model say which of two models of a run answers better."""
