"""Rows of one question and one answer in columns: Alpaca, prompt and completion, question and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaf_orch.programs.formats import columns as names
from alphaf_orch.programs.formats.columns import Row
from alphaf_orch.programs.row_keys import RowError

Found = tuple[str, list[Any], tuple[str, ...], Mapping[str, str]]


def single_turns(row: Row) -> Found:
    """Return the format's name, the turns, the columns that were read, and what our places are in the user's words.

    Raises RowError where a question or an answer lacks, or two columns could be it.
    """
    reply = _one(row, names.REPLIES, "answer")
    ask, more = question_columns(row)
    if isinstance(row[ask], list) or isinstance(row[reply], list):
        return _conversational(row, ask, reply)
    turns = [*history(row), {"role": "user", "content": asked_text(row, ask, more)}]
    words = {f"messages[{len(turns) - 1}]": ask, f"messages[{len(turns)}]": reply, "messages": ask, ".content": ""}
    if names.system_of(row):
        words = {f"messages[{len(turns)}]": ask, f"messages[{len(turns) + 1}]": reply, "messages": ask, ".content": ""}
    read = tuple(name for name in (ask, more, reply, names.HISTORY) if name)
    turns.append({"role": "assistant", "content": row[reply]})
    return _name(ask, reply), turns, read, words


def question_columns(row: Row) -> tuple[str, str | None]:
    """Return the column of the question, and that of what it is about, None where there is none."""
    more = names.given(row, names.MORE)
    if not names.given(row, names.ASKS) and len(more) == 1:
        return more[0], None  # input/output
    ask = _one(row, names.ASKS, "question")
    if len(more) > 1:
        raise RowError(
            more[1],
            f"and {more[0]} may both belong to the question: keep one, or say which by `columns`",
            code="data.two_columns",
        )
    return ask, more[0] if more else None


def asked_text(row: Row, ask: str, more: str | None) -> str:
    """Return the question, behind it on a line of its own what it is about, as LLaMA-Factory joins the two."""
    for name in filter(None, (ask, more)):
        if not isinstance(row[name], str):
            raise RowError(name, "is not a text", code="data.wrong_type")
    parts = [row[name] for name in (ask, more) if name and names.has_text(row, name)]
    if not parts:
        raise RowError(ask, "is blank", code="data.blank")
    return "\n".join(parts)


def history(row: Row) -> list[dict[str, Any]]:
    """Return the turns before the question: [question, answer] pairs, as LLaMA-Factory's Alpaca has them."""
    pairs = row.get(names.HISTORY) or []
    turns = []
    for index, pair in enumerate(pairs if isinstance(pairs, list) else [None]):
        if not (isinstance(pair, list) and len(pair) == 2):
            raise RowError(
                f"{names.HISTORY}[{index}]", "is no pair of a question and its answer", code="data.wrong_type"
            )
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns


def _conversational(row: Row, ask: str, reply: str) -> Found:
    """Return TRL's prompt and completion as lists of turns: loss on those of the completion alone, as TRL has it."""
    turns: list[Any] = []
    for key, role in ((ask, "user"), (reply, "assistant")):
        value = row[key]
        part = names.neutral(value, key, names.spelling(value)) if isinstance(value, list) else None
        added = part if isinstance(part, list) else [{"role": role, "content": value}]
        before = key == ask
        turns += [
            {**t, "train": False} if before and isinstance(t, Mapping) and t.get("role") == "assistant" else t
            for t in added
        ]
    return f"{ask} and {reply} (lists of turns)", turns, (ask, reply), {"messages": f"{ask} and {reply}"}


def _one(row: Row, known: tuple[str, ...], what: str) -> str:
    found = names.given(row, known)
    if len(found) > 1:
        say = f"say which one by `columns`, or keep one; the columns here are {', '.join(map(str, row))}"
        raise RowError(
            "row",
            f"has {len(found)} columns that may be the {what} ({', '.join(found)}): {say}",
            code="data.two_columns",
        )
    if not found:
        say = f"of a row with the columns {', '.join(map(str, row))}; known for it: {', '.join(known)}"
        raise RowError(known[0], f"is missing: no column is known as the {what} {say}", code="data.key_missing")
    return found[0]


def _name(ask: str, reply: str) -> str:
    # The same for all rows of a file, of which some may lack the column of what the question is about.
    alpaca = {("instruction", "output"): "instruction, input, output", ("지시", "출력"): "지시, 입력, 출력"}
    return f"Alpaca ({alpaca[ask, reply]})" if (ask, reply) in alpaca else f"{ask} and {reply}"
