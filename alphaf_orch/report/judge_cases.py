"""Judged conversations with both answers and the judge's reasons."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError, DataError
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.stored import absent
from alphaf_orch.core.wording import Label, join, named
from alphaf_orch.judging.answers import read_answers
from alphaf_orch.judging.prompts import Prompt, load_prompts
from alphaf_orch.judging.verdicts import read_rows
from alphaf_orch.report.blocks import Answer, Block, SideBySide, Turn
from alphaf_orch.report.figures import NONE, clip
from alphaf_orch.report.names import ROLES, STAGES
from alphaf_orch.settings.config import read_remembered

_ORDERS = ("ab", "ba")


def judged_cases(paths: RunPaths, folder: Path, pair: tuple[str, str], shown: int) -> list[Block]:
    """Return the first prompts by id that a won in both orders, then those that b won."""
    file = folder / "verdicts.jsonl"
    if absent(file):
        return []
    winners: dict[str, dict[str, Any]] = {}
    for row in read_rows(file):
        winners.setdefault(str(row.get("id")), {})[str(row.get("order"))] = row.get("winner")
    chosen: dict[str, str] = {}
    for side in ("a", "b"):
        won = sorted(name for name, orders in winners.items() if all(orders.get(o) == side for o in _ORDERS))
        chosen |= dict.fromkeys(won[:shown], side)
    rows: dict[str, dict[str, Mapping[str, Any]]] = {name: {} for name in chosen}
    for row in read_rows(file):
        if str(row.get("id")) in rows:
            rows[str(row["id"])][str(row["order"])] = row
    return [_case(paths, pair, winner, rows[name]) for name, winner in chosen.items()]


def _case(paths: RunPaths, pair: tuple[str, str], winner: str, orders: Mapping[str, Mapping[str, Any]]) -> SideBySide:
    row = orders["ab"]
    keys = row.get("keys") or {}
    prompt = _prompt(paths, row, keys.get("prompt"))
    turns = tuple(Turn(ROLES["user"], clip(text)) for text in prompt.turns) if prompt else ()
    if prompt and prompt.system:
        turns = (Turn(ROLES["system"], clip(prompt.system)), *turns)
    answers = []
    for side, stage in zip("ab", pair, strict=True):
        verdict = Label("○ 이김", "○ won") if side == winner else Label("✕ 짐", "✕ lost")
        text = _answer(paths, stage, row, keys.get(side))
        answers.append(Answer(named(STAGES, stage), text, verdict, "good" if side == winner else "bad"))
    reasons = [str(orders[order].get("reason") or "") for order in _ORDERS]
    remark = join(
        [
            Label("평가 모델의 판정 이유: ", "The judge: "),
            " / ".join(clip(reason, 1000) for reason in reasons if reason),
        ],
        "",
    )
    wins = join([named(STAGES, pair["ab".index(winner)]), Label("우세", "preferred")], " ")
    return SideBySide(
        join([wins, str(row.get("id"))]), turns, clip(prompt.reference or "") if prompt else "", tuple(answers), remark
    )


def _prompt(paths: RunPaths, row: Mapping[str, Any], key: str | None) -> Prompt | None:
    """Return the prompt that was judged; None where the set is not here any more, or says something else now."""
    try:
        own = None if absent(paths.config) else read_remembered(paths.config).get("templates")
        found = load_prompts(str(row.get("prompt_set")), template_folders(own))
    except (ConfigError, DataError):
        return None
    for prompt in found.prompts:
        if prompt.id == row.get("id") and fingerprint([prompt.turns, prompt.system, prompt.reference])[:16] == key:
            return prompt
    return None


def _answer(paths: RunPaths, stage: str, row: Mapping[str, Any], key: str | None) -> str:
    answers = read_answers(paths.answers(stage, str(row.get("prompt_set"))))
    answer = answers.get(str(row.get("id")))
    # Answers made anew since are not what the judge saw.
    return clip("\n\n".join(answer.turns)) if answer and fingerprint(answer.turns)[:16] == key else NONE
