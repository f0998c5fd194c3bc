"""Rows of a preferred and a rejected answer, however the prompt stands beside them or inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alphaf_orch.programs.formats import columns as names
from alphaf_orch.programs.formats.columns import Row
from alphaf_orch.programs.formats.single import asked_text, history, question_columns
from alphaf_orch.programs.row_keys import RowError, is_empty

# Anthropic's hh-rlhf writes whole conversations as one text.
_HH = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
Found = tuple[str, dict[str, Any], tuple[str, ...], Mapping[str, str]]


def pair_row(row: Row, sides: tuple[str, str]) -> Found:
    """Return the format's name, the row as `rows.preference` reads it, the columns read, our places in their words."""
    for side in sides:
        if row.get(side) is None:
            raise RowError(side, "is missing", code="data.key_missing")
    prompt, read, form = _prompt(row, sides)
    answers = [_answer(row[side], side) for side in sides]
    if prompt is None and all(isinstance(answer, str) for answer in answers):
        answers, form = [_spoken(str(a), side) for a, side in zip(answers, sides, strict=True)], "HH text pairs"
    elif isinstance(prompt, list) or any(isinstance(answer, list) for answer in answers):
        answers = [[{"role": "assistant", "content": a}] if isinstance(a, str) else a for a in answers]
    plain: dict[str, Any] = {"chosen": answers[0], "rejected": answers[1]}
    plain |= {"prompt": prompt} if prompt is not None else {}
    system = names.system_of(row)
    plain |= {"system": system} if system else {}
    words = {"chosen": sides[0], "rejected": sides[1], "prompt": read[0] if read else "prompt"}
    return form, plain, (*read, *sides, *names.SYSTEMS, names.HISTORY), words


def _prompt(row: Row, sides: tuple[str, str]) -> tuple[object, tuple[str, ...], str]:
    """Return the prompt as text or turns (None where it stands in the answers), its columns, the format's name."""
    both, turns = ", ".join(sides), names.given(row, names.TURNS)
    if isinstance(row.get("input"), Mapping) and "messages" in row["input"]:
        given = {k: v for k, v in row["input"].items() if k not in ("messages", "parallel_tool_calls")}
        extra = next((key for key, value in given.items() if not is_empty(value)), None)
        if extra:
            raise RowError(f"input.{extra}", "is set: only texts can be trained on", code="data.key_not_trained")
        return _turns(row["input"]["messages"], "input.messages"), ("input",), f"OpenAI preference (input, {both})"
    # The answers beside a prompt's turns are single: whole conversations hold the prompt themselves.
    if turns and not _whole(row[sides[0]]):
        return _turns(row[turns[0]], turns[0]), (turns[0],), f"{turns[0]}, {both}"
    if not names.given(row, (*names.ASKS, *names.MORE)):
        return None, (), both
    ask, more = question_columns(row)
    value, read = row[ask], tuple(name for name in (ask, more) if name)
    if isinstance(value, list):
        return _turns(value, ask), read, f"{ask}, {both}"
    before = history(row)
    text = asked_text(row, ask, more)
    asked: object = [*before, {"role": "user", "content": text}] if before else text
    return asked, read, f"{ask}, {both}"


def _whole(answer: object) -> bool:
    return isinstance(answer, list) and len(answer) > 1


def _turns(value: object, key: str) -> object:
    turns = names.turn_list(value, key)
    return names.neutral(turns, key, names.spelling(turns))


def _answer(value: object, side: str) -> object:
    """Return an answer as a text or a list of turns; LLaMA-Factory has one turn as an object."""
    value = names.turn_list(value, side)
    if isinstance(value, Mapping):
        value = [value]
    return _turns(value, side) if isinstance(value, list) else value


def _spoken(text: str, side: str) -> list[dict[str, str]]:
    """Return the turns of a conversation in one text, "\\n\\nHuman: … \\n\\nAssistant: …"."""
    parts = _HH.split(text)
    if len(parts) < 5 or parts[0].strip():
        what = "is a text with no prompt beside it; known: a column prompt, question or instruction, turns,"
        raise RowError(side, f'{what} or one text "\\n\\nHuman: …\\n\\nAssistant: …"', code="data.key_missing")
    role = {"Human": "user", "Assistant": "assistant"}
    return [{"role": role[who], "content": said.strip()} for who, said in zip(parts[1::2], parts[2::2], strict=True)]
