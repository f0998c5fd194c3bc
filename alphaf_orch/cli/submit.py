"""What commands with `--on` share: what is submitted of a run, and what is printed of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import click
from rich.console import Console

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.dry_run import print_dry_run
from alphaf_orch.cli.options import How, log_console, out_console
from alphaf_orch.cli.plan_view import WORDS
from alphaf_orch.cli.wait import follow_jobs, so_far
from alphaf_orch.clusters.chain import named_here
from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.pipelined import File, files_of
from alphaf_orch.core.command import printable
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.spoken import say
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs import submission
from alphaf_orch.runs.chain import run_config
from alphaf_orch.runs.notify.call import told_by_jobs
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.submission import Handed, Site, run_jobs
from alphaf_orch.settings.config import RunConfig

# What a job leaves out of the call that it makes again, with a value behind it or alone: where it runs, how it is told.
_WITH_VALUE, _ALONE = ("--on",), ("--wait", "--detach", "--dry-run", "--verbose", "-v", "--json", "--quiet", "-q")


def on_site(config: RunConfig, paths: RunPaths, scope: Scope, site: Site, how: How) -> None:
    """Submit what is to do of a run and print the ids; with --wait follow it to its end, and exit as it does.

    With --dry-run every file is printed, and nothing asked of the scheduler.
    """
    run = paths.full_name
    if site.unsaid(config):
        say(site.unsaid(config), err=True)
    if scope.dry:
        machine = site.machine(config)
        plan = make_plan(config, machine, paths.root, scope)
        check_recipe(plan, lambda text: say(text, err=True))
        jobs = run_jobs(plan, run, site)
        told = jobs_json(jobs, paths, site) if how.as_json else ()
        print_dry_run(plan, machine, how, tools_here=False, jobs=told)
        if not how.as_json:
            print_jobs(jobs, paths, site, full=how.full)
        return
    told_by_jobs(config, site.profile.env, partial(say, err=True))
    since = so_far(paths.root)
    handed = submission.submit_run(config, paths, scope, run, site, log_console(), _say(how), verbose=how.verbose)
    _tell(handed, run, since, how)


def submit_call(paths: RunPaths, command: str, what: str, needs: Needs, site: Site, how: How) -> None:
    """Submit this very call of `alphaf COMMAND` on a run, named after what it does; with --dry-run print its file."""
    run = paths.full_name
    words = said_again(run)
    rest = [word for word in words if word not in ("--run", "-r", run)]
    name = re.sub(r"[^\w.-]", "_", f"{command}-{what}")[:80] + (f"-{fingerprint(rest)[:6]}" if rest else "")
    config = run_config(paths)
    job = Job(run, name, needs, argv=(command, *words, "--on", "local"), reads=named_here(config))
    if how.dry_run and how.as_json:
        answer("jobs", {"run": run, "on": str(site.on), "jobs": jobs_json([job], paths, site)})
        return
    if how.dry_run:
        print_jobs([job], paths, site, full=True)
        return
    told_by_jobs(config, site.profile.env, partial(say, err=True))
    since = so_far(paths.root)
    _tell(submission.submit_call(paths, job, site, _say(how)), run, since, how)


def said_again(run: str) -> list[str]:
    """Return the words of this call as a job gives them: with the run that is meant, without where it is to run."""
    words: list[str] = list(click.get_current_context().meta.get(WORDS, ()))
    found: list[str] = []
    while words:
        word = words.pop(0)
        if word in _WITH_VALUE:
            words = words[1:]
        elif word not in _ALONE and not word.startswith(tuple(f"{name}=" for name in _WITH_VALUE)):
            found.append(word)
    named = any(word in ("--run", "-r") or word.startswith("--run=") for word in found)
    return found if named else ["--run", run, *found]


def print_jobs(jobs: Sequence[Job], paths: RunPaths, site: Site, *, full: bool) -> None:
    """Print every file that the scheduler would be given, whole, and the command that would hand it over.

    Without `full` only which jobs these are.
    """
    console = out_console()
    files = files_of(jobs, site.profile, site.scheduler, lambda _: paths, site.place)
    if not full:
        tell(console, f"{len(jobs)} jobs on {site.on}: {', '.join(job.name for job in jobs)}")
    for file in files if full else ():
        console.rule(f"{', '.join(job.name for job in file.jobs)} on {site.on}", align="left")
        print_file(console, file)
    say(f"dry run: nothing was submitted to {site.on.scheduler}, and nothing was written into the run")


def jobs_json(jobs: Sequence[Job], paths: RunPaths, site: Site) -> list[dict[str, Any]]:
    """Return what print_jobs prints as JSON values."""
    return [file_json(file) for file in files_of(jobs, site.profile, site.scheduler, lambda _: paths, site.place)]


def file_json(file: File) -> dict[str, Any]:
    """Return a file that a scheduler would be given: whose jobs, whole, and the commands that hand it over."""
    commands = [list(argv) for argv in (*file.waits, file.command)]
    return {"jobs": [job.key for job in file.jobs], "path": str(file.path), "text": file.text, "commands": commands}


def print_file(console: Console, file: File) -> None:
    """Print a file that a scheduler would be given, whole, and what would hand it over."""
    console.out(f"# {file.path}", highlight=False)
    console.out(file.text, highlight=False)
    for argv in (*file.waits, file.command):
        console.out(f"$ {printable(argv)}", highlight=False)


def _say(how: How) -> Callable[[str], None]:
    """Return what tells of each job: on stderr, where stdout is JSON's."""
    return partial(say, err=how.as_json or how.quiet)


def _tell(handed: Handed, run: str, since: Mapping[RunPaths, int], how: How) -> None:
    live = [each.record for each in handed.live.values()]
    submitted = {key.rpartition(":")[2]: number for key, number in handed.ids.items()}
    told = {"run": run, "submitted": submitted, "under_way": {record.name: record.job_id for record in live}}
    if how.as_json:
        answer("submission", told)
    else:
        _tell_lines(handed, run, waits=how.wait)
    if how.wait and (handed.ids or live):
        ids = [*handed.ids.values(), *(record.job_id for record in live)]
        code = follow_jobs(run, ids, None if live else since)
        if how.as_json:
            answer("submission", {**told, "exit_code": code})
        sys.exit(code)


def _tell_lines(handed: Handed, run: str, *, waits: bool) -> None:
    for each in handed.live.values():
        say(f"{each.record.name}: is under way already: {each}")
    if not handed.ids and not handed.live:
        say(f"run {run}: nothing to submit, all of it is done")
    elif not waits:
        say(f"follow it: `alphaf logs {run} -f`; state: `alphaf show {run}`; take it back: `alphaf cancel {run}`")
