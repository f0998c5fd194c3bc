"""Pairwise preference: every prompt with both models' answers, in both orders, before one judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint
from alphaf_orch.judging.answers import ensure_answers
from alphaf_orch.judging.pool import Question
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.judging.prompts import Prompt, PromptSet
from alphaf_orch.judging.sitting import Sitting, hold
from alphaf_orch.judging.summary import ORDERS, write_summary
from alphaf_orch.judging.verdicts import Name, Row
from alphaf_orch.judging.wording import JudgePrompts
from alphaf_orch.runs.chain import chain_models

if TYPE_CHECKING:
    from rich.console import Console

_SHAPES = ("one-turn", "two-turns")
_MEANING = {"ab": {"A": "a", "B": "b", "tie": "tie"}, "ba": {"A": "b", "B": "a", "tie": "tie"}}

Turns = Mapping[str, tuple[str, ...]]  # a model's answers by prompt


def compare(
    paths: RunPaths,
    a: str,
    b: str,
    prompts: PromptSet,
    preset: JudgePreset,
    templates: JudgePrompts,
    *,
    limit: int | None,
    max_new_tokens: int,
    console: Console,
    verbose: bool,
    again: bool = False,
) -> dict[str, Any]:
    """Return the summary of a judged against b on the prompts (the first `limit` of them), judging what lacks.

    With `again` what the judge refused is asked though nothing has changed.
    """
    _check(prompts)
    templates.identity(*_SHAPES)  # a template that is missing shows before hours of answering
    models = {model.stage: model for model in chain_models(paths, (a, b))}
    answers = {
        stage: {
            name: answer.turns
            for name, answer in ensure_answers(
                paths,
                models[stage],
                prompts,
                max_new_tokens=max_new_tokens,
                limit=limit,
                console=console,
                verbose=verbose,
            ).items()
        }
        for stage in (a, b)
    }
    folder, said = paths.judge(f"{a}-vs-{b}"), (answers[a], answers[b])
    return judge_pairs(folder, (a, b), prompts, said, preset, templates, limit=limit, console=console, again=again)


def judge_pairs(
    folder: Path,
    stages: tuple[str, str],
    prompts: PromptSet,
    answers: tuple[Turns, Turns],
    preset: JudgePreset,
    templates: JudgePrompts,
    *,
    limit: int | None,
    console: Console,
    again: bool = False,
) -> dict[str, Any]:
    """Put the missing verdicts into `folder`/verdicts.jsonl, write summary.json and return it."""
    a, b = stages
    wording = templates.identity(*_SHAPES)
    keys = {prompt.id: _keys(prompt, answers, wording) for prompt in prompts.prompts}
    path = folder / "verdicts.jsonl"
    sitting = Sitting(
        title=f"judge {a} vs {b}",
        path=path,
        questions=[
            _question(prompt, order, answers, keys[prompt.id], templates, prompts.name)
            for prompt in prompts.prompts[:limit]
            for order in ORDERS
        ],
        name=_name,
        expected=lambda row: keys.get(row["id"]),
        parts={
            "prompt": "the prompt",
            "a": f"the answers of {a}",
            "b": f"the answers of {b}",
            "template": "the judge's template",
        },
        again=again,
    )

    def summarize(lacking: Sequence[Name]) -> dict[str, Any]:
        # One order of a prompt may have its line.
        without = Counter(name[0] for name in lacking)
        return write_summary(folder, a, b, sum(count == len(ORDERS) for count in without.values()))

    return hold(sitting, preset, console, summarize)


def _check(prompts: PromptSet) -> None:
    if not prompts.prompts:
        raise DataError(
            "the prompt set is empty", where=prompts.name, fix="give it at least one prompt", code="data.no_rows"
        )
    for prompt in prompts.prompts:
        if len(prompt.turns) not in (1, 2):
            raise DataError(
                f"prompt {prompt.id} has {len(prompt.turns)} turns",
                where=prompts.name,
                fix="judge conversations of one or two user turns",
                code="data.too_many_turns",
            )


def _name(row: Row) -> Name:
    return row["id"], row["order"]


def _keys(prompt: Prompt, answers: tuple[Turns, Turns], wording: str) -> dict[str, str]:
    """Return what identifies a pair; beyond a limit there are no answers, and none to compare with."""
    asked = {"prompt": [prompt.turns, prompt.system, prompt.reference], "template": wording}
    said = {side: turns[prompt.id] for side, turns in zip("ab", answers, strict=True) if prompt.id in turns}
    return {part: fingerprint(value)[:16] for part, value in {**asked, **said}.items()}


def _question(
    prompt: Prompt,
    order: str,
    answers: tuple[Turns, Turns],
    keys: Mapping[str, str],
    templates: JudgePrompts,
    prompt_set: str,
) -> Question:
    a, b = (turns[prompt.id] for turns in answers)
    row = {
        "id": prompt.id,
        "category": prompt.category,
        "prompt_set": prompt_set,
        "order": order,
        "a_chars": sum(map(len, a)),
        "b_chars": sum(map(len, b)),
    }
    text = templates.pair(prompt, *((a, b) if order == "ab" else (b, a)))
    return Question((prompt.id, order), row, keys, text, templates.reminder, "winner", _MEANING[order])
