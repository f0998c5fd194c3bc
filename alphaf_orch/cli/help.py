"""The help of a command in the reader's language, folded by what its letters take on a screen."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from typing import IO, Any

import click

from alphaf_orch.core.spoken import spoken

_FILLER = (
    "\u2060"  # no letter of any text of ours; it stands for the second column of a wide one while lines are folded
)


class SpokenHelp(click.HelpFormatter):
    """Writes each heading and text as it is said in the reader's language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the line of usage."""
        super().write_usage(prog, args, f"{_wide(spoken('Usage:'))} " if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        """Write a heading."""
        super().write_heading(_wide(spoken(heading)))

    def write_text(self, text: str) -> None:
        """Write text, each paragraph folded anew."""
        super().write_text("\n\n".join(_wide(spoken(" ".join(each.split()))) for each in text.split("\n\n")))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean, as two columns."""
        super().write_dl([(name, _wide(_meaning(text))) for name, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """Return all that was written."""
        return super().getvalue().replace(_FILLER, "")


def show_usage(error: click.UsageError, file: IO[Any] | None = None) -> None:
    """Print what is wrong with a command line as click does, in the reader's language."""
    out = file or sys.stderr
    if error.ctx:
        click.echo(error.ctx.get_usage(), file=out)
        if error.ctx.help_option_names:
            click.echo(
                spoken(f"Try '{error.ctx.command_path} {error.ctx.help_option_names[0]}' for help.") + "\n", file=out
            )
    click.echo(spoken(f"Error: {error.format_message()}"), file=out)


def _meaning(text: str) -> str:
    """Return the help of an option; what click puts behind it in brackets is its own words."""
    said, bracket, extra = f"  {text}".partition("  [")
    told = (spoken(part) for part in extra.removesuffix("]").split("; "))
    return (spoken(said.strip()) + bracket + "; ".join(told) + ("]" if bracket else "")).strip()


def _wide(text: str) -> str:
    return "".join(letter + _FILLER * (unicodedata.east_asian_width(letter) in "WF") for letter in text)
