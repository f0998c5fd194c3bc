"""The vote form: a judge says O or X to an answer, against the gold answer that its row has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaf_orch.core.errors import ConfigError, DataError, RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint, write_atomic
from alphaf_orch.core.stored import absent
from alphaf_orch.judging.answers import ensure_answers
from alphaf_orch.judging.pool import Question
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.judging.prompts import PromptSet
from alphaf_orch.judging.sitting import Sitting, hold
from alphaf_orch.judging.summary import missing
from alphaf_orch.judging.verdicts import Name, Row
from alphaf_orch.judging.vote_summary import summarize_votes
from alphaf_orch.judging.wording import JudgePrompts
from alphaf_orch.runs.chain import CHAIN, chain_models
from alphaf_orch.scores.results import check_samples, read_result, read_samples

if TYPE_CHECKING:
    from rich.console import Console

_MEANING = {"O": "O", "X": "X"}


@dataclass(frozen=True)
class Voted:
    """One answer to vote on: whose it is, what was asked, what is right."""

    stage: str
    id: str
    question: str
    gold: str
    answer: str

    def keys(self, wording: str) -> dict[str, str]:
        """Return what the votes on this answer depend on."""
        parts = {"prompt": [self.question, self.gold], "answer": self.answer, "template": wording}
        return {part: fingerprint(value)[:16] for part, value in parts.items()}


def from_samples(paths: RunPaths, task: str, stages: Sequence[str]) -> list[Voted]:
    """Return the answers of an evaluated task that have a gold answer; of all stages where none is named.

    Raises RunStateError where a stage was not evaluated on the task.
    """
    chosen = stages or [stage for stage in CHAIN if not absent(paths.eval_samples(stage, task))]
    for stage in chosen or CHAIN[:1]:
        if stage not in CHAIN:
            raise ConfigError(
                f"{stage} is no stage of the chain",
                where="--a, --b",
                fix=f"use {', '.join(CHAIN)}",
                code="config.unknown_name",
            )
        if absent(paths.eval_samples(stage, task)):
            raise RunStateError(
                f"there are no answers of {stage} to {task}" if stages else f"no model was evaluated on {task}",
                where=str(paths.eval_samples(stage, task)),
                fix=f"run `alphaf eval --run {paths.full_name}` first, or name another task with --task",
                code="run.not_evaluated",
            )
    for stage in chosen:  # cut samples would be voted on as if they were all
        check_samples(paths.eval_samples(stage, task), read_result(paths.eval_result(stage, task)))
    return [
        Voted(stage, sample.id, sample.prompt, sample.gold, sample.answer)
        for stage in chosen
        for sample in read_samples(paths.eval_samples(stage, task))
        if sample.gold.strip()
    ]


def from_prompts(
    paths: RunPaths,
    prompts: PromptSet,
    stages: Sequence[str],
    *,
    limit: int | None,
    max_new_tokens: int,
    console: Console,
    verbose: bool,
) -> list[Voted]:
    """Return the models' answers to the (first `limit`) prompts that have a reference, making those that lack."""
    places = [place for place, prompt in enumerate(prompts.prompts, 1) if prompt.reference][:limit]
    judged = [prompts.prompts[place - 1] for place in places]
    last = max(places, default=0)
    found = []
    for model in chain_models(paths, stages):
        answers = ensure_answers(
            paths, model, prompts, max_new_tokens=max_new_tokens, limit=last, console=console, verbose=verbose
        )
        found += [
            Voted(model.stage, p.id, "\n\n".join(p.turns), p.reference or "", "\n\n".join(answers[p.id].turns))
            for p in judged
        ]
    return found


def judge_votes(
    folder: Path,
    rows: Iterable[Voted],
    preset: JudgePreset,
    templates: JudgePrompts,
    *,
    repeat: int,
    limit: int | None,
    console: Console,
    again: bool = False,
) -> dict[str, Any]:
    """Return the share of O of each stage, after voting `repeat` times on each row that lacks a vote.

    With `again` what the judge refused is asked though nothing has changed.
    """
    if repeat > 1 and not preset.temperature:
        raise ConfigError(
            f"{repeat} votes at temperature 0 are one vote, {repeat} times",
            where="--repeat",
            fix="name a judge preset with a temperature above 0, or leave out --repeat",
            code="config.not_together",
        )
    wording = templates.identity("vote")
    voted = list(rows)
    if not voted:
        raise DataError(
            "no row has a gold answer to vote against",
            where=folder.name,
            fix="name another source",
            code="data.no_gold_answer",
        )
    known = {(row.stage, row.id): row.keys(wording) for row in voted}
    stages = list(dict.fromkeys(row.stage for row in voted))
    first = [row for stage in stages for row in [r for r in voted if r.stage == stage][:limit]]
    sitting = Sitting(
        title=folder.name,
        path=folder / "votes.jsonl",
        questions=[
            _question(row, number, known[row.stage, row.id], templates)
            for row in first
            for number in range(1, repeat + 1)
        ],
        name=_name,
        # Rows of a stage that was not named this time are nobody's business now.
        expected=lambda row: known.get((row["stage"], row["id"])) if row["stage"] in stages else {},
        parts={"prompt": "the question or its gold answer", "answer": "the answers", "template": "the template"},
        again=again,
    )
    return hold(sitting, preset, console, lambda lacking: write_vote_summary(folder, len(lacking)))


def write_vote_summary(folder: Path, without_row: int | None = None) -> dict[str, Any]:
    """Write summary.json from the votes and return it; raise RunStateError where there are none.

    `without_row` says how many votes of the last sitting have no line; None: as many as was said before.
    """
    votes = folder / "votes.jsonl"
    if absent(votes) or (votes.is_file() and not votes.stat().st_size):
        raise RunStateError(
            "nothing was voted on here", where=str(votes), fix="leave out --summary to vote", code="run.not_judged"
        )
    summary = summarize_votes(votes, missing(folder) if without_row is None else without_row)
    write_atomic(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def _name(row: Row) -> Name:
    return row["stage"], row["id"], row["number"]


def _question(row: Voted, number: int, keys: dict[str, str], templates: JudgePrompts) -> Question:
    text = templates.vote(row.question, row.gold, row.answer)
    shown = {"stage": row.stage, "id": row.id, "number": number}
    return Question((row.stage, row.id, number), shown, keys, text, templates.reminder, "vote", _MEANING)
