"""`alphaf report` and `alphaf compare`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from alphaf_orch.core.paths import RunPaths
    from alphaf_orch.core.wording import Language
    from alphaf_orch.report.blocks import Report

_language = click.option(
    "--lang", type=click.Choice(["ko", "en"]), default="ko", show_default=True, help="The page opens in this language."
)
_output = click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="The page; Markdown is put beside it."
)
_cases = click.option(
    "--cases", type=click.IntRange(min=0), default=3, show_default=True, help="Wins and losses shown of each kind."
)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@_output
@_language
@_cases
def report(runs: tuple[str, ...], output: Path | None, lang: Language, cases: int) -> None:
    """Write what a run was worth as one HTML page and as Markdown, and the model card of its final model.

    Without a name, the newest run; of several, one page that begins with their comparison.
    """
    from alphaf_orch.core.paths import runs_dir
    from alphaf_orch.report.card import write_model_card
    from alphaf_orch.report.run.content import report_of
    from alphaf_orch.runs.find import existing_run

    chosen = [existing_run(name) for name in runs] or [_newest()]
    default = chosen[0].html_report if len(chosen) == 1 else runs_dir() / chosen[0].html_report.name
    _write(report_of(chosen, cases), output or default, lang)
    for paths in chosen:
        card = write_model_card(paths)
        if card:
            click.echo(card)


@click.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@_output
@_language
@_cases
def compare(first: str, second: str, output: Path | None, lang: Language, cases: int) -> None:
    """Write two runs side by side: what was set otherwise, and what that did to the scores."""
    from alphaf_orch.report.run.content import comparison_of
    from alphaf_orch.runs.find import existing_run

    before, after = existing_run(first), existing_run(second)
    default = before.comparison_page(after)
    _write(comparison_of(before, after, cases), output or default, lang)


def _newest() -> RunPaths:
    from alphaf_orch.core.errors import RunStateError
    from alphaf_orch.core.paths import runs_dir
    from alphaf_orch.runs.find import all_runs

    found = all_runs()
    if not found:
        raise RunStateError("there is no run yet", where=str(runs_dir()), fix="start one with alphaf run")
    return found[-1]


def _write(content: Report, page: Path, language: Language) -> None:
    from alphaf_orch.report.write import write_report

    for path in write_report(content, page, language):
        click.echo(path)
