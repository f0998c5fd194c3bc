"""What `--wait` does, and `alphaf attach` of a run that jobs work on: their lines as they come, and their states."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

from alphaf_orch.cli.job_view import Changes
from alphaf_orch.cli.logs import output_lines
from alphaf_orch.cli.options import out_console
from alphaf_orch.cli.views import print_run
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.signals import CODE
from alphaf_orch.core.spoken import say
from alphaf_orch.runs.follow import ASK_S, OWN, Following, begins, code_of, may_go_on, root_of, unheard
from alphaf_orch.runs.jobs import Told, with_arms
from alphaf_orch.runs.look import run_json
from alphaf_orch.runs.standing import Standing

_POLL_S = 0.3
_LAST = 20  # lines of what a job printed that never came to alphaf
_CALL = "$ alphaf job "  # begins what a job says; nobody typed it
_err = partial(say, err=True)


def so_far(root: Path) -> Mapping[RunPaths, int]:
    """Return where the logs of a run or an experiment end: what jobs say that are submitted next stands behind."""
    return {paths: _size(paths) for paths in with_arms(root)} if root.is_dir() else {}


def follow_jobs(
    name: str,
    ids: Collection[str] | None = None,
    since: Mapping[RunPaths, int] | None = None,
    *,
    say: Callable[[str], None] = _err,
    every_s: float = ASK_S,
    retold: Collection[str] = (),
) -> int:
    """Follow jobs of a run or an experiment until all have ended; return the code that a call here would end with.

    `ids` are those meant, else all that the run has; `since` is where their lines begin (so_far), else those of
    whoever works on it now. The scheduler is asked every `every_s` seconds at most. Ctrl-C ends the following alone:
    the jobs go on, which is said, and the code is 130. `retold` are jobs whose output the caller says itself.
    """
    following = Following(root_of(name), "", begins if since is None else lambda it: since.get(it, 0), every_s=every_s)
    try:
        told = _followed(following, ids, say, retold)
    except KeyboardInterrupt:
        left = ", ".join(job.job_id for job in _meant(following.look(), ids) if job.open)
        say(f"left alone: job {left or 'none'} goes on; `alphaf attach {name}` follows, `alphaf cancel {name}` ends it")
        return CODE
    jobs = list(_meant(told, ids))
    arms = following.root.experiment.is_file()
    code = code_of(jobs, arms=arms)
    if not code and not arms and any(job.job.stage for job in jobs):  # a call here ends with it
        print_run(out_console(), run_json(following.root, told))
    if code:
        say(f"{name}: not finished; `alphaf show {name}` says what is, and the same command submits the rest")
    return code


def _followed(
    following: Following, ids: Collection[str] | None, say: Callable[[str], None], retold: Collection[str]
) -> Told:
    changes = Changes()
    while True:
        # Asked first, read then: what is there once all have ended is all of it.
        told = following.look()
        over = not any(map(may_go_on, _meant(told, ids)))
        for label, line in following.lines(over=over):
            if not line.startswith(_CALL):
                say(label + line)
        for line in changes.lines(told, following.label):
            say(line)
        if over:
            for line in _unsaid(following, told, ids, retold):
                say(line)
            return told
        time.sleep(_POLL_S)


def _meant(told: Told, ids: Collection[str] | None) -> Iterator[Standing]:
    """Yield the jobs that are followed, in the order of their submission."""
    jobs = [job for found in told.standings.values() for job in found]
    yield from (job for job in sorted(jobs, key=lambda job: job.job.at) if ids is None or job.job_id in ids)


def _unsaid(following: Following, told: Told, ids: Collection[str] | None, retold: Collection[str]) -> Iterator[str]:
    meant = list(_meant(told, ids))
    for paths in following.places():
        for job in unheard(paths, told):
            if job in meant and job.job.name not in retold:
                yield from output_lines(paths, job, following.label(paths), _LAST)


def _size(paths: RunPaths) -> int:
    log = paths.log(OWN)
    return log.stat().st_size if log.is_file() else 0
