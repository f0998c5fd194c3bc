"""`alphaf judge`: parse, call one function, print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.judge_view import print_comparison, print_votes
from alphaf_orch.cli.options import How, command, log_console, option, out_console, with_options
from alphaf_orch.cli.site import refuse_waiting, site_of
from alphaf_orch.clusters.jobs import Needs
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.spoken import say
from alphaf_orch.judging.request import VOTED_TASK, JudgeOptions, judge_asked, judge_run
from alphaf_orch.runs.chain import run_config
from alphaf_orch.runs.find import existing_run

if TYPE_CHECKING:
    from alphaf_orch.runs.submission import Site


@command()
@with_options("run")
@click.option("--a", metavar="STAGE", help="The model that wins or loses: base, sft, dpo or merged.")
@click.option("--b", metavar="STAGE", help="The model it is compared with.")
@click.option("--judge", "judge_name", default="local", show_default=True, metavar="URL|PRESET", help="Who judges.")
@click.option("--judge-model", metavar="NAME", help="The judge's model (default: the only one the server lists).")
@click.option("--prompts", metavar="NAME|FILE", help="What both models answer (default preference_ko).")
@option("limit", metavar=None, help="The first N prompts; a later call may go on to more.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Requests at the same time (default: the preset's).")
@option("max_new_tokens", help="Length limit of an answer (default 512).")
@click.option("--summary", is_flag=True, help="Only compute the figures again from the verdicts.")
@click.option("--refused", is_flag=True, help="Ask again what the judge refused, though nothing has changed.")
@click.option("--votes", is_flag=True, help="Vote O or X on answers that have a gold answer, instead of comparing.")
@click.option("--task", metavar="NAME", help=f"With --votes: an evaluated task (default {VOTED_TASK}).")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="With --votes: votes a row.")
@with_options("on", "wait", "dry_run", "detach", "verbose", "quiet", "as_json")
def judge(asked: JudgeOptions, how: How, on: str | None) -> None:
    """Let a judge model say which of two models of a run answers better.

    Every prompt is judged in both orders; what is judged is kept, and a second call goes on.
    """
    site = None if asked.summary or not asked.run else site_of(run_config(existing_run(asked.run)), on)
    if site:
        _submit(existing_run(str(asked.run)), asked, site, how)
        return
    refuse_waiting(how)
    if how.dry_run and asked.run:
        judge = judge_asked(asked, existing_run(asked.run))
        _say_who(judge.url)
        if how.as_json:
            answer("judge-plan", {"run": asked.run, "a": asked.a, "b": asked.b, "url": judge.url, "model": judge.model})
        else:
            say("dry run: nobody was asked, and nothing was written")
        return
    folder, found = judge_run(asked, log_console(), verbose=how.verbose)
    if how.as_json:
        answer("judge-votes" if asked.votes else "judge", {**found, "folder": str(folder)})
    else:
        (print_votes if asked.votes else print_comparison)(out_console(), found, folder)


def _say_who(url: str, whence: str = "") -> None:
    say(f"note: the judge is asked at {url}{whence}", err=True)


def _submit(paths: RunPaths, asked: JudgeOptions, site: Site, how: How) -> None:
    """Submit the call; raise ConfigError for a judge or prompts that are none, and for a key that no job would have."""
    from alphaf_orch.cli.submit import submit_call  # here: what runs on this machine plans no jobs

    judge = judge_asked(asked, paths)
    if judge.api_key_env and judge.api_key_env not in site.profile.env:
        raise ConfigError(
            f"the judge's key is in {judge.api_key_env}, which jobs do not get",
            where=site.file,
            fix=f"add it to the profile: `env: [{judge.api_key_env}]`; it goes through the scheduler then",
            code="config.variable_not_passed",
        )
    _say_who(judge.url, " from the job's machine, from which it has to be reached")
    what = f"votes-{asked.task or asked.prompts or VOTED_TASK}" if asked.votes else f"{asked.a}-vs-{asked.b}"
    gpus = min(1, len(site.machine(run_config(paths)).gpus))
    submit_call(paths, "judge", what, Needs("judge", gpus), site, how)
