"""`alphaf report` and `alphaf compare`: parse, call one function, print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, option, with_options
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.wording import Language
from alphaf_orch.experiments.experiment import experiment_paths, is_experiment
from alphaf_orch.report.card import write_model_card
from alphaf_orch.report.run.content import comparison_of, report_of
from alphaf_orch.report.write import write_report
from alphaf_orch.runs.find import existing_run, newest_run

_language = option("lang", show_default=True, help="The page opens in this language.")


@command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@with_options("output")
@_language
@with_options("cases", "as_json")
def report(runs: tuple[str, ...], output: Path | None, lang: Language, cases: int, as_json: bool) -> None:
    """Write what a run was worth as one HTML page and as Markdown, and the model card of its final model.

    Without a name, the newest run; of several, one page that begins with their comparison. Of an experiment: its
    report, from what its arms have come to.
    """
    if len(runs) == 1 and not output and is_experiment(runs[0]):
        from alphaf_orch.cli.part import report_experiment  # a run's report needs none of that

        report_experiment(experiment_paths(runs[0]), lang, as_json=as_json)
        return
    chosen = [existing_run(name) for name in runs] or [newest_run()]
    default = chosen[0].html_report if len(chosen) == 1 else runs_dir() / chosen[0].html_report.name
    files = write_report(report_of(chosen, cases), output or default, lang)
    cards = [card for paths in chosen if (card := write_model_card(paths))]
    _tell([paths.full_name for paths in chosen], [*files, *cards], as_json=as_json)


@command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@with_options("output")
@_language
@with_options("cases", "as_json")
def compare(first: str, second: str, output: Path | None, lang: Language, cases: int, as_json: bool) -> None:
    """Write two runs side by side: what was set otherwise, and what that did to the scores."""
    before, after = existing_run(first), existing_run(second)
    default = before.comparison_page(after)
    files = write_report(comparison_of(before, after, cases), output or default, lang)
    _tell([before.full_name, after.full_name], files, as_json=as_json)


def _tell(runs: Sequence[str], files: Iterable[Path], *, as_json: bool) -> None:
    if as_json:
        answer("report", {"runs": list(runs), "files": [str(path) for path in files]})
        return
    for path in files:
        click.echo(path)
