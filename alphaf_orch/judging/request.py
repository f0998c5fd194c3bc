"""From an `alphaf judge` to its figures: which models, which prompts, which judge, compared or voted on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from alphaf_orch.core.calls import keep_in
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.progress import tell
from alphaf_orch.judging.answers import MAX_NEW_TOKENS
from alphaf_orch.judging.preset import JudgePreset, load_judge
from alphaf_orch.judging.prompts import EMBEDDED, load_prompts
from alphaf_orch.judging.summary import check_stages, write_summary
from alphaf_orch.judging.wording import JudgePrompts
from alphaf_orch.runs.chain import run_config
from alphaf_orch.runs.find import existing_run
from alphaf_orch.runs.notify.call import told_of

VOTED_TASK = "finance_ko_rag"


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What the command line said; None means that it said nothing."""

    run: str | None = None
    a: str | None = None
    b: str | None = None
    judge_name: str = "local"
    judge_model: str | None = None
    prompts: str | None = None
    limit: int | None = None
    concurrency: int | None = None
    max_new_tokens: int | None = None
    summary: bool = False
    refused: bool = False
    votes: bool = False
    task: str | None = None
    repeat: int = 1


def judge_run(asked: JudgeOptions, console: Console, *, verbose: bool) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the verdicts and their figures, judging first what lacks a verdict unless only asked to sum.

    Raises ConfigError where no run is named, and for options that cannot be meant together.
    """
    if asked.run is None:
        raise ConfigError(
            "no run is named",
            where="--run",
            fix="say --run NAME; `alphaf runs` lists them",
            code="config.nothing_named",
        )
    paths = existing_run(asked.run)
    keep_in(paths.log("alphaf"))
    config = None if asked.summary else run_config(paths)  # figures of what is there: nothing to tell anybody of
    with told_of(config, paths, partial(tell, console)):
        return (_vote if asked.votes else _compare)(paths, asked, console, verbose=verbose)


def judge_asked(asked: JudgeOptions, paths: RunPaths) -> JudgePreset:
    """Return the judge; raise ConfigError for one, for models or for prompts that there are not. Nobody is asked."""
    folders = _folders(paths)
    if not asked.votes:
        check_stages(asked.a, asked.b)
    if asked.prompts:
        load_prompts(asked.prompts, folders)
    return _judge(asked, folders)[0]


def _compare(paths: RunPaths, asked: JudgeOptions, console: Console, *, verbose: bool) -> tuple[Path, dict[str, Any]]:
    if asked.task or asked.repeat > 1:
        raise ConfigError(
            "a comparison has no task and no repeated votes",
            where="--task" if asked.task else "--repeat",
            fix="add --votes, or leave it out",
            code="config.not_together",
        )
    a, b = check_stages(asked.a, asked.b)
    folder = paths.judge(f"{a}-vs-{b}")
    if asked.summary:
        return folder, write_summary(folder, a, b)
    from alphaf_orch.judging.pairs import compare  # openai, which takes long to import and a summary needs not

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
        console=console,
        verbose=verbose,
        again=asked.refused,
    )


def _vote(paths: RunPaths, asked: JudgeOptions, console: Console, *, verbose: bool) -> tuple[Path, dict[str, Any]]:
    from alphaf_orch.judging.votes import from_prompts, from_samples, judge_votes, write_vote_summary

    if asked.prompts and asked.task:
        raise ConfigError(
            "votes are on a task or on prompts",
            where="--task, --prompts",
            fix="leave out one of the two",
            code="config.not_together",
        )
    folders = _folders(paths)
    prompts = load_prompts(asked.prompts, folders) if asked.prompts else None
    source = prompts.name if prompts else asked.task or VOTED_TASK
    folder = paths.judge(f"votes-{source}")
    if asked.summary:
        return folder, write_vote_summary(folder)
    preset, templates = _judge(asked, folders)
    stages = [stage for stage in (asked.a, asked.b) if stage]
    if prompts:
        rows = from_prompts(
            paths,
            prompts,
            stages,
            limit=asked.limit,
            max_new_tokens=asked.max_new_tokens or MAX_NEW_TOKENS,
            console=console,
            verbose=verbose,
        )
    else:
        rows = from_samples(paths, source, stages)
    return folder, judge_votes(
        folder,
        rows,
        preset,
        templates,
        repeat=asked.repeat,
        limit=asked.limit,
        console=console,
        again=asked.refused,
    )


def _folders(paths: RunPaths) -> tuple[Path, ...]:
    return template_folders(run_config(paths).templates)


def _judge(asked: JudgeOptions, folders: tuple[Path, ...]) -> tuple[JudgePreset, JudgePrompts]:
    preset = load_judge(asked.judge_name, folders, model=asked.judge_model, concurrency=asked.concurrency)
    return preset, JudgePrompts(preset.template, folders)
