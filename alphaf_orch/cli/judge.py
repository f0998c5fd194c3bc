"""`alphaf judge`: parse, call one function, print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaf_orch.cli.options import echo_json, log_console, out_console, with_options

if TYPE_CHECKING:
    from alphaf_orch.core.paths import RunPaths
    from alphaf_orch.judging.preset import JudgePreset
    from alphaf_orch.judging.wording import JudgePrompts

_TASK = "finance_ko_rag"


@dataclass(frozen=True)
class Options:
    """What the command line said besides the run and the kind of answer."""

    a: str | None
    b: str | None
    judge_name: str
    judge_model: str | None
    prompts: str | None
    limit: int | None
    concurrency: int | None
    max_new_tokens: int | None
    task: str | None
    repeat: int
    verbose: bool


@click.command()
@with_options("run")
@click.option("--a", metavar="STAGE", help="The model that wins or loses: base, sft, dpo or merged.")
@click.option("--b", metavar="STAGE", help="The model it is compared with.")
@click.option("--judge", "judge_name", default="local", show_default=True, metavar="URL|PRESET", help="Who judges.")
@click.option("--judge-model", metavar="NAME", help="The judge's model (default: the only one the server lists).")
@click.option("--prompts", metavar="NAME|FILE", help="What both models answer (default preference_ko).")
@click.option("--limit", type=click.IntRange(min=1), help="The first N prompts; a later call may go on to more.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Requests at the same time (default: the preset's).")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Length limit of an answer (default 512).")
@click.option("--summary", is_flag=True, help="Only compute the figures again from the verdicts.")
@click.option("--votes", is_flag=True, help="Vote O or X on answers that have a gold answer, instead of comparing.")
@click.option("--task", metavar="NAME", help=f"With --votes: an evaluated task (default {_TASK}).")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="With --votes: votes a row.")
@with_options("verbose", "json")
def judge(run: str | None, summary: bool, votes: bool, as_json: bool, **options: Any) -> None:
    """Let a judge model say which of two models of a run answers better.

    Every prompt is judged in both orders; what is judged is kept, and a second call goes on.
    """
    from alphaf_orch.cli.judge_view import print_comparison, print_votes
    from alphaf_orch.core.errors import ConfigError
    from alphaf_orch.runs.find import existing_run

    if run is None:
        raise ConfigError("no run is named", where="--run", fix="say --run NAME; `alphaf runs` lists them")
    paths, asked = existing_run(run), Options(**options)
    folder, found = (_vote if votes else _compare)(paths, asked, summary=summary)
    if as_json:
        echo_json(found)
    else:
        (print_votes if votes else print_comparison)(out_console(), found, folder)


def _compare(paths: RunPaths, asked: Options, *, summary: bool) -> tuple[Path, dict[str, Any]]:
    from alphaf_orch.core.errors import ConfigError
    from alphaf_orch.judging.summary import check_stages, write_summary

    if asked.task or asked.repeat > 1:
        raise ConfigError(
            "a comparison has no task and no repeated votes",
            where="--task" if asked.task else "--repeat",
            fix="add --votes, or leave it out",
        )
    a, b = check_stages(asked.a, asked.b)
    folder = paths.judge(f"{a}-vs-{b}")
    if summary:
        return folder, write_summary(folder, a, b)
    from alphaf_orch.judging.answers import MAX_NEW_TOKENS
    from alphaf_orch.judging.pairs import compare
    from alphaf_orch.judging.prompts import EMBEDDED, load_prompts

    folders = _folders(paths)
    preset, templates = _judge(asked, folders)
    prompts = load_prompts(asked.prompts or EMBEDDED, folders)
    return folder, compare(
        paths,
        a,
        b,
        prompts,
        preset,
        templates,
        limit=asked.limit,
        max_new_tokens=asked.max_new_tokens or MAX_NEW_TOKENS,
        console=log_console(),
        verbose=asked.verbose,
    )


def _vote(paths: RunPaths, asked: Options, *, summary: bool) -> tuple[Path, dict[str, Any]]:
    from alphaf_orch.core.errors import ConfigError
    from alphaf_orch.judging.answers import MAX_NEW_TOKENS
    from alphaf_orch.judging.prompts import load_prompts
    from alphaf_orch.judging.votes import from_prompts, from_samples, judge_votes, write_vote_summary

    if asked.prompts and asked.task:
        raise ConfigError(
            "votes are on a task or on prompts", where="--task, --prompts", fix="leave out one of the two"
        )
    folders = _folders(paths)
    prompts = load_prompts(asked.prompts, folders) if asked.prompts else None
    source = prompts.name if prompts else asked.task or _TASK
    folder = paths.judge(f"votes-{source}")
    if summary:
        return folder, write_vote_summary(folder)
    preset, templates = _judge(asked, folders)
    stages = [stage for stage in (asked.a, asked.b) if stage]
    console, limit = log_console(), asked.limit
    if prompts:
        rows = from_prompts(
            paths,
            prompts,
            stages,
            limit=limit,
            max_new_tokens=asked.max_new_tokens or MAX_NEW_TOKENS,
            console=console,
            verbose=asked.verbose,
        )
    else:
        rows = from_samples(paths, source, stages)
    return folder, judge_votes(folder, rows, preset, templates, repeat=asked.repeat, limit=limit, console=console)


def _folders(paths: RunPaths) -> tuple[Path, ...]:
    from alphaf_orch.core.paths import template_folders
    from alphaf_orch.runs.chain import run_config

    return template_folders(run_config(paths).templates)


def _judge(asked: Options, folders: tuple[Path, ...]) -> tuple[JudgePreset, JudgePrompts]:
    from alphaf_orch.judging.preset import load_judge
    from alphaf_orch.judging.wording import JudgePrompts

    preset = load_judge(asked.judge_name, folders, model=asked.judge_model, concurrency=asked.concurrency)
    return preset, JudgePrompts(preset.template, folders)
