"""`alphaf cancel`: parse, call one function, print."""

from __future__ import annotations

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import command, with_options
from alphaf_orch.clusters.submit import who
from alphaf_orch.core.errors import AlphafError, RunStateError, interruptible
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.spoken import say
from alphaf_orch.runs.cancel import cancel_jobs, folders, refuse_folder_of_others, stop, working
from alphaf_orch.settings.options import submitted_paths


@command()
@click.argument("run")
@with_options("as_json")
def cancel(run: str, as_json: bool) -> None:
    """End what works, or waits in a queue to work, on a run, an arm (EXPERIMENT/ARM) or an experiment.

    What is finished is kept; a training that runs here, or on another machine without a scheduler, keeps a checkpoint.
    """
    paths = submitted_paths(run)
    if not paths.root.is_dir():
        raise RunStateError(
            f"there is no run {run}",
            where=str(runs_dir()),
            fix="`alphaf runs` lists what there is",
            code="run.not_found",
        )
    every, by = folders(paths), f"alphaf cancel of {who()}"
    failure: AlphafError | None = None
    try:
        jobs = cancel_jobs(every, by)
    except AlphafError as error:  # a scheduler that does not answer keeps nobody here from being stopped
        failure, jobs = error, []
    for job in jobs:
        say(f"cancelled: {job.record.run} {job.record.name}: {job}")
    found = working(every, jobs)
    if as_json:
        ended = [{"run": job.record.run, "job": job.record.name, "id": job.record.job_id} for job in jobs]
        stopped = [{"run": each.paths.name, "holder": str(each.holder)} for each in found]
        answer("cancel", {"run": run, "cancelled": ended, "stopped": stopped})
    if failure and found:
        say(f"warning: {failure.what}", err=True)  # before the wait
    for each in found:
        refuse_folder_of_others(each)
        say(f"asked to stop: {each.paths.full_name}: {each.holder}")
    with interruptible(
        "alphaf cancel",
        paths.root,
        "the wish to stop stays there, and is heeded all the same",
    ):
        if found:
            say("waits until it has: a training finishes its step and keeps a checkpoint", err=True)
        stop(found, by, lambda text: say(text, err=True))
    if found:
        say(f"{run}: stopped; the same command goes on where it was")
    if failure:
        raise failure
    if not jobs and not found:
        say(f"{run}: nothing to cancel: no job of it waits or runs, and nobody works on it")
