"""What a row of any known format says, as one canonical row: a conversation, a preference, or a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from alphaf_orch.programs.formats import columns as names
from alphaf_orch.programs.formats.columns import Row
from alphaf_orch.programs.formats.pairs import pair_row
from alphaf_orch.programs.formats.single import single_turns
from alphaf_orch.programs.row_keys import MASKS, TEXT_ONLY, RowError, check_row_keys, is_empty
from alphaf_orch.programs.rows import Kind, conversation, preference

Normal = Literal["NFC"]
_KNOWN_CHAT = (
    "known: messages or conversations (role/content or from/value), Alpaca (instruction, input, output), prompt and"
    " completion or response, question and answer, text (continued pretraining)"
)
_KNOWN_PAIR = (
    "known: prompt, chosen and rejected; whole conversations in chosen and rejected; system, question, chosen and"
    " rejected; input, preferred_output and non_preferred_output; conversations with a chosen and a rejected turn"
)


@dataclass(frozen=True)
class Taken:
    """One row as it is trained: what it was taken as, the canonical row, the columns that nothing reads."""

    format: str
    row: dict[str, Any]
    unused: tuple[str, ...] = ()
    masked: bool = False


@dataclass(frozen=True)
class Asked:
    """What is wanted of the rows: conversations or preferences, which columns are meant, one Unicode form or none."""

    want: Kind
    columns: Mapping[str, str] = field(default_factory=dict)
    normalize: Normal | None = None


def canonical(row: object, asked: Asked) -> Taken:
    """Return the row in canonical form with the name of the format that it was in.

    Raises RowError, in the words of the row's own keys, for a row that must not be trained on and for one of no known
    format, or of two.
    """
    if not isinstance(row, Mapping):
        raise RowError(
            "row", f"is a JSON {type(row).__name__}, not an object with named columns", code="data.not_an_object"
        )
    known, renamed = names.named(row, asked.columns)
    with _in_their_words(renamed):
        _refuse_other_trainings(known)
        found = _preference(known) if asked.want == "preference" else _chat(known)
    if asked.normalize:
        found = Taken(found.format, _normalised(found.row, asked.normalize), found.unused, found.masked)
    return found


def _chat(row: Row) -> Taken:
    turns = names.given(row, names.TURNS)
    if len(turns) > 1:
        raise RowError("row", f"has both '{turns[0]}' and '{turns[1]}': keep one", code="data.two_formats")
    if turns:
        return _conversation(row, turns[0])
    if names.given(row, (*names.ASKS, *names.REPLIES)) and _no_pair(row):
        form, messages, read, words = single_turns(row)
        return _checked(row, form, messages, (*read, *names.SYSTEMS), words)
    texts = [name for name in names.TEXTS if isinstance(row.get(name), str)]
    if texts:
        return _text(row, texts[0])
    what = f"has the columns {', '.join(map(str, row)) or 'none'}, which are no known format; {_KNOWN_CHAT}"
    if not _no_pair(row):
        what = "has 'chosen' and 'rejected', but no conversation: give this file to DPO"
    raise RowError("row", what, code="data.unknown_format" if _no_pair(row) else "data.other_kind")


def _no_pair(row: Row) -> bool:
    return not any(names.given(row, pair) == list(pair) for pair in names.SIDES)


def _conversation(row: Row, key: str) -> Taken:
    turns = names.turn_list(row[key], key)
    spelt = names.spelling(turns)
    form = f"{key} ({', '.join(spelt)})"
    words = {"messages": key, ".role": f".{spelt[0]}", ".content": f".{spelt[1]}"}
    messages = names.neutral(turns, key, spelt)
    return _checked(row, form, messages, (key, *names.SYSTEMS), words, also=("prompt",))


def _checked(
    row: Row,
    form: str,
    turns: object,
    read: tuple[str, ...],
    words: Mapping[str, str],
    also: tuple[str, ...] = (),
) -> Taken:
    """Return the conversation with the row's system prompt in it, after the check that all rows to be trained pass.

    `read` are the columns that became the turns, `also` others that the check itself reads.
    """
    rest = {key: value for key, value in row.items() if key not in (*read, *names.TURNS)}
    with _in_their_words(words):
        messages = conversation({**rest, "messages": _with_system(row, turns)})
    masked = any("train" in message for message in messages)
    return Taken(form, {"messages": messages}, _unused(row, (*read, *also), turns), masked)


def _with_system(row: Row, turns: object) -> object:
    system = names.system_of(row)
    if system is None or not isinstance(turns, list):
        return turns
    first = turns[0] if turns and isinstance(turns[0], Mapping) else {}
    if first.get("role") != "system":
        return [{"role": "system", "content": system}, *turns]
    if first.get("content") != system:
        raise RowError("system", "differs from the first turn: keep one of the two", code="data.system_differs")
    return turns


def _text(row: Row, key: str) -> Taken:
    check_row_keys(row)
    if not row[key].strip():
        raise RowError(key, "is blank", code="data.blank")
    return Taken("text (continued pretraining)", {"text": row[key]}, _unused(row, (key,), None))


def _preference(row: Row) -> Taken:
    pairs = [pair for pair in names.SIDES if names.given(row, pair)]
    if not pairs:
        if names.given(row, (*names.TURNS, *names.REPLIES, *names.TEXTS)):
            raise RowError(
                "row",
                f"has no preferred and rejected answer: give this file to SFT; {_KNOWN_PAIR}",
                code="data.other_kind",
            )
        what = f"has the columns {', '.join(map(str, row)) or 'none'}, which are no known format; {_KNOWN_PAIR}"
        raise RowError("row", what, code="data.unknown_format")
    if len(pairs) > 1:
        raise RowError(
            "row",
            f"has two pairs of answers: {' and '.join(', '.join(pair) for pair in pairs)}",
            code="data.two_columns",
        )
    form, plain, read, words = pair_row(row, pairs[0])
    kept = {key: value for key, value in row.items() if key not in (*read, *names.TURNS)}
    with _in_their_words(words):
        pair = preference({**kept, **plain})
    # Without masks: the loss is on the last turn alone.
    found = {"prompt": pair.prompt, "chosen": [pair.chosen], "rejected": [pair.rejected]}
    return Taken(form, found, _unused(row, read, None))


def _unused(row: Row, read: tuple[str, ...], turns: object) -> tuple[str, ...]:
    """Return the columns that have a value and were not read, `messages[].name` for one of turns."""
    known = {*read, *MASKS, *TEXT_ONLY}
    found = [str(key) for key, value in row.items() if not (key in known or is_empty(value))]
    keys: dict[str, None] = {}
    for turn in turns if isinstance(turns, list) else ():
        keys |= {k: None for k, v in turn.items() if k not in ("role", "content", *MASKS) and not is_empty(v)}
    return (*found, *(f"{read[0]}[].{key}" for key in keys))


def _refuse_other_trainings(row: Row) -> None:
    """Raise RowError for rows of trainings that are not done here, each with its name."""
    for key in ("label", "kto_tag"):
        if isinstance(row.get(key), bool) and not names.given(row, ("chosen", "rejected")):
            what = "marks one answer as good or bad (KTO), and DPO needs two answers to one prompt"
            raise RowError(key, f"{what}; for SFT keep the good rows and take {key} out", code="data.other_training")
    if isinstance(row.get("completions"), list) and _no_pair(row):
        raise RowError(
            "completions",
            "is a list of rated answers: choose a preferred and a rejected one of them first",
            code="data.other_training",
        )


@contextmanager
def _in_their_words(words: Mapping[str, str]) -> Iterator[None]:
    """Let a RowError name a key as the user's row has it."""
    try:
        yield
    except RowError as error:
        key = error.key
        for ours, theirs in words.items():
            if ours.startswith(".") and key.endswith(ours):
                key = key.removesuffix(ours) + theirs
        prefixes = [ours for ours in words if key == ours or key.startswith((f"{ours}[", f"{ours}."))]
        if prefixes:
            ours = max(prefixes, key=len)
            key = words[ours] + key[len(ours) :]
        raise RowError(key, error.problem, code=error.code) from error


def _normalised(value: Any, form: Normal) -> Any:
    change: Callable[[Any], Any] = lambda each: _normalised(each, form)  # noqa: E731
    if isinstance(value, str):
        return unicodedata.normalize(form, value)
    if isinstance(value, list):
        return [change(each) for each in value]
    return {key: change(each) for key, each in value.items()} if isinstance(value, Mapping) else value
