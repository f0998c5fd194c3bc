"""`alphaf eval`: parse, call one function, print."""

from __future__ import annotations

import click


@click.command("eval")
def evaluate() -> None:
    """Score the models of a run on finance benchmarks, offline."""
