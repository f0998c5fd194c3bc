"""`alphaf judge`: parse, call one function, print."""

from __future__ import annotations

import click

from alphaf_orch.cli.judge_view import print_comparison, print_votes
from alphaf_orch.cli.options import How, command, echo_json, log_console, option, out_console, with_options
from alphaf_orch.judging.request import VOTED_TASK, JudgeOptions, judge_run


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
@with_options("detach", "verbose", "as_json")
def judge(asked: JudgeOptions, how: How) -> None:
    """Let a judge model say which of two models of a run answers better.

    Every prompt is judged in both orders; what is judged is kept, and a second call goes on.
    """
    folder, found = judge_run(asked, log_console(), verbose=how.verbose)
    if how.as_json:
        echo_json(found)
    else:
        (print_votes if asked.votes else print_comparison)(out_console(), found, folder)
