"""What people call the columns of a row, the roles of its turns and the parts of a text."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from alphaf_orch.programs.row_keys import RowError, is_empty
from alphaf_orch.programs.rows import SHAREGPT_ROLES

Row = Mapping[str, Any]

# Lists of turns: OpenAI and the hub's chat sets, ShareGPT, and the names that single sets have for them.
TURNS = ("messages", "conversations", "conversation", "dialogue", "대화")
# One question and one answer: Alpaca and KoAlpaca, prompt/completion of OpenAI and TRL, Dolly, OpenOrca, Korean sets.
ASKS = ("instruction", "prompt", "question", "query", "user", "질문", "지시", "지시문", "명령")
MORE = ("input", "context", "입력")  # what the question is about: Alpaca's `input`, Dolly's `context`
REPLIES = ("output", "completion", "response", "answer", "assistant", "답변", "출력", "응답", "답")
SYSTEMS = ("system", "system_prompt", "시스템")
HISTORY = "history"  # LLaMA-Factory's Alpaca: [question, answer] pairs before the instruction
TEXTS = ("text", "텍스트", "본문")
# The preferred and the rejected answer: TRL and most hub sets, OpenAI, and names of single sets.
SIDES = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
    ("선호", "비선호"),
)
KNOWN = frozenset(
    (*TURNS, *ASKS, *MORE, *REPLIES, *SYSTEMS, HISTORY, *TEXTS, *(name for pair in SIDES for name in pair))
)
ROLES = {**SHAREGPT_ROLES, "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}
_TOOL_ROLES = {"tool", "function", "function_call", "observation", "ipython", "environment"}


def named(row: Row, columns: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the row under the names that are known here, and what the user calls each that was renamed.

    A csv's `Question ` is `question`; `columns` says which column is meant by a known name. Raises RowError where two
    columns would get one name.
    """
    theirs = {column: name for name, column in columns.items()}
    found: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    for key, value in row.items():
        plain = unicodedata.normalize("NFC", str(key)).strip().casefold()
        name = theirs.get(key) or (plain if plain in KNOWN and plain not in row else str(key))
        if name in columns and key not in theirs:
            name = f"{key} (not used)"  # another column has the name by the user's word
        if name in found:
            raise RowError(
                str(key),
                f"and {renamed.get(name, name)} are one name to us: keep one of the two columns",
                code="data.two_columns",
            )
        found[name] = value
        if name != key:
            renamed[name] = str(key)
    return found, renamed


def given(row: Row, names: Iterable[str]) -> list[str]:
    """Return which of the columns the row has a value in; null counts as none."""
    return [name for name in names if row.get(name) is not None]


def has_text(row: Row, name: str | None) -> bool:
    """Return whether the column holds more than blanks."""
    value = row.get(name) if name else None
    return bool(value.strip()) if isinstance(value, str) else not is_empty(value)


def system_of(row: Row) -> str | None:
    """Return the system prompt beside the turns, None where it is null or blank; two of them are refused."""
    found = [name for name in given(row, SYSTEMS) if has_text(row, name)]
    if len(found) > 1:
        raise RowError(found[1], f"and {found[0]} are both set: keep one system prompt", code="data.two_columns")
    if not found:
        return None
    value = row[found[0]]
    if not isinstance(value, str):
        raise RowError(found[0], "is not a text", code="data.wrong_type")
    return value


def turn_list(value: object, key: str) -> object:
    """Return a list of turns as a list of objects: from JSON in a csv's cell, or from columns as older sets keep it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowError(
                key, f"is a text that begins like JSON and is none: {error}", code="data.invalid_json"
            ) from error
    columns = list(value.values()) if isinstance(value, Mapping) else []
    if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        # A Sequence of structs of `datasets`: {"from": [...], "value": [...]}.
        assert isinstance(value, Mapping)
        return [dict(zip(value, turn, strict=True)) for turn in zip(*columns, strict=True)]
    return value


def spelling(turns: object) -> tuple[str, str]:
    """Return the keys that hold role and text in a list of turns: role/content, from/value, or a mixture."""
    first = turns[0] if isinstance(turns, list) and turns else None
    if not isinstance(first, Mapping):
        return "role", "content"
    role = "from" if first.get("role") is None and first.get("from") is not None else "role"
    other = [name for name in ("value", "text") if first.get("content") is None and first.get(name) is not None]
    return role, other[0] if other else "value" if role == "from" and "content" not in first else "content"


def neutral(turns: object, key: str, names: tuple[str, str]) -> object:
    """Return turns with role/content, our roles and their other keys; what is no turn is left for the check to name.

    An empty system turn is none. Raises RowError for tools' turns and parts that are not text.
    """
    if not isinstance(turns, list):
        return turns
    role, content = names
    found: list[Any] = []
    for index, turn in enumerate(turns):
        if not isinstance(turn, Mapping):
            found.append(turn)
            continue
        place = f"{key}[{index}]"
        name = turn.get(role)
        if isinstance(name, str) and name in _TOOL_ROLES:
            raise RowError(
                f"{place}.{role}",
                f"is {name!r}: turns of tools can't be trained on, only texts",
                code="data.unknown_role",
            )
        known = ROLES.get(name, name) if isinstance(name, str) else name
        text = text_of(turn.get(content), f"{place}.{content}")
        if index == 0 and known == "system" and (text is None or (isinstance(text, str) and not text.strip())):
            continue
        rest = {k: v for k, v in turn.items() if k not in (role, content)}
        found.append({"role": known, "content": text, **rest})
    return found


def text_of(value: object, place: str) -> object:
    """Return the text of a content in parts, joined as chat templates join them; another value as it is."""
    if not isinstance(value, list) or not value:
        return value
    texts = []
    for index, part in enumerate(value):
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
        if kind not in ("text", "input_text", "output_text") or not isinstance(part.get("text"), str):
            raise RowError(
                f"{place}[{index}]", f"is a part of type {kind!r}: only text can be trained on", code="data.not_text"
            )
        texts.append(part["text"])
    return "".join(texts)
