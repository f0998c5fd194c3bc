"""`alphaf logs`: parse, call one function, print."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.job_view import Changes, state_words
from alphaf_orch.cli.options import command, with_options
from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.signals import CODE
from alphaf_orch.core.spoken import say
from alphaf_orch.core.streams import VIEWER_GONE, viewer_gone
from alphaf_orch.core.tail import Tail, last_lines
from alphaf_orch.core.values import nearest
from alphaf_orch.runs.follow import OWN, Following, log_of, root_of, unheard, whole
from alphaf_orch.runs.jobs import Told
from alphaf_orch.runs.standing import Standing

_POLL_S = 0.3
_BAR_S = 15.0  # elsewhere than on a terminal a progress bar is a line now and then (core.progress)


@command()
@click.argument("run")
@click.argument("stage", required=False, default="")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until it has ended.")
@click.option("--lines", "-n", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@with_options("as_json")
def logs(run: str, stage: str, follow: bool, lines: int | None, as_json: bool) -> None:
    """Print what alphaf said of a run or an arm, of all arms of an experiment, or the log of one STAGE.

    It makes no difference where it runs: here, on another machine, in a scheduler's job, or still in the queue.
    """
    following = Following(root_of(run), stage, lambda paths: _from(log_of(paths, stage), lines))
    if stage and stage not in following.logs():
        raise ConfigError(
            f"{run} has no log {stage!r}{nearest(stage, sorted(following.logs()))}",
            where=str(following.root.log("alphaf").parent),
            fix="name a stage (sft, merge_sft, ...), a file of that folder without its ending, or nothing",
            code="config.unknown_name",
        )
    page = _Kept() if as_json else _Page()
    if follow:
        try:
            _follow(following, page, lines, stage)
        except KeyboardInterrupt:
            if not as_json:
                sys.exit(CODE)
            raise
    else:
        _all(run, following, page, lines, stage)
    if as_json:
        answer("logs", {"run": run, "stage": stage or None, "lines": page.kept})


def _all(run: str, following: Following, page: _Page, lines: int | None, stage: str) -> None:
    told = following.look()
    for label, line in following.lines(over=True):
        page.line(label + line)
    for line in _outputs(following, told, lines, stage):
        page.line(line)
    if not page.shown:
        raise _nothing(run, stage, following, told)


def _follow(following: Following, page: _Page, lines: int | None, stage: str) -> None:
    changes = Changes()
    while True:
        # Asked first, read then: what is there once all is over is all of it.
        told = following.look()
        over = following.over(told)
        for line in changes.lines(told, following.label):
            page.aside(line)
        for label, line in following.lines(over=over):
            page.line(label + line)
        if over:
            break
        page.begun("".join(following.begun()))
        time.sleep(_POLL_S)
    for line in _outputs(following, told, lines, stage):
        page.line(line)
    if not page.shown:
        page.aside(f"{following.root.name}: nothing works on it, and nothing was said")


class _Page:
    """Standard output, line by line; on a terminal the last one may be a progress bar that is written over."""

    def __init__(self) -> None:
        self.shown = False
        self.kept: list[str] = []
        self._terminal = sys.stdout.isatty()
        self._bar, self._barred = "", time.monotonic()
        self._standing = False  # whether the bar stands on the screen

    def line(self, text: str) -> None:
        """Print a line; exit where nobody reads any more."""
        self._clear()
        sys.stdout.write(f"{text}\n")
        self.shown = True
        if viewer_gone():
            sys.exit(VIEWER_GONE)

    def aside(self, text: str) -> None:
        """Say on standard errors what stands in no log."""
        self._clear()
        sys.stdout.flush()
        say(text, err=True)

    def begun(self, text: str) -> None:
        """Show a line that is not at its end, and all that was printed before."""
        if text and text != self._bar:
            if self._terminal:
                self._clear()
                sys.stdout.write(text[: shutil.get_terminal_size().columns - 1])
                self._bar, self._standing = text, True
            elif time.monotonic() - self._barred > _BAR_S:
                self._barred, self._bar = time.monotonic(), text
                self.line(text)
        sys.stdout.flush()

    def _clear(self) -> None:
        if self._standing:
            sys.stdout.write("\r\x1b[K")
            self._bar, self._standing = "", False


class _Kept(_Page):
    """Keeps the lines instead of printing them."""

    def line(self, text: str) -> None:
        """Keep a line."""
        self.kept.append(text)
        self.shown = True

    def begun(self, text: str) -> None:
        """Leave a line alone that is not at its end."""


def _outputs(following: Following, told: Told, lines: int | None, stage: str) -> Iterator[str]:
    """Yield what jobs printed that ended badly before alphaf could say anything."""
    for paths in following.places():
        for job in unheard(paths, told):
            if stage in ("", OWN, job.job.name):
                yield from output_lines(paths, job, following.label(paths), lines)


def output_lines(paths: RunPaths, job: Standing, label: str, lines: int | None) -> Iterator[str]:
    """Yield what the scheduler kept of what a job printed, with a line that says which job it was."""
    output = paths.job_output(job.job.name)
    yield f"{label}{state_words(job)}; all that it printed is in {output}:"
    tail = Tail(output, _from(output, lines))
    for line in whole(tail):
        yield label + line


def _from(log: Path, lines: int | None) -> int:
    return 0 if lines is None else last_lines(log, lines)


def _nothing(run: str, stage: str, following: Following, told: Told) -> RunStateError:
    jobs = [job for found in told.standings.values() for job in found if job.open and stage in ("", job.job.name)]
    waits = f": {state_words(jobs[0])}" if jobs else ""
    what = f"{stage} of {run}" if stage and stage != OWN else run
    return RunStateError(
        f"{what} has no log yet{waits}",
        where=str(log_of(following.root, stage)),
        fix=f"`alphaf logs {run}{f' {stage}' if stage else ''} -f` waits for it; `alphaf show {run}` says what is done",
        code="run.no_log",
    )
