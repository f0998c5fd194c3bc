"""The row formats that may be trained on: each reader returns one normalised shape or raises RowError."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.programs.lines import bounded_lines
from alphaf_orch.programs.quality import invisible
from alphaf_orch.programs.row_keys import MASKS, RowError, check_row_keys, check_turn_keys, trained, unused_keys

# {"role": "system" | "user" | "assistant", "content": text}; an assistant's turn without loss has "train": False too.
Message = dict[str, Any]
Format = Literal["messages", "conversations", "preference", "text"]
Kind = Literal["chat", "preference"]

OPENAI_ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
# The ShareGPT names axolotl's chat_template strategy maps when its `roles` is left out.
SHAREGPT_ROLES = {**OPENAI_ROLES, "human": "user", "gpt": "assistant"}
SIDES = ("chosen", "rejected")
OPENAI = (("role", "content"), OPENAI_ROLES)  # the keys of a turn that hold its role and its text, and the roles
SHAREGPT = (("from", "value"), SHAREGPT_ROLES)


@dataclass(frozen=True)
class Preference:
    """One prompt (its last turn is the user's) with the preferred and the rejected assistant turn."""

    prompt: list[Message]
    chosen: Message
    rejected: Message


def row_format(row: object, want: Kind | None = None) -> Format:
    """Return which format the row's keys announce; a null value counts as an absent key.

    Some published rows carry both kinds: with `want` the keys of the other kind are then passed over,
    without it such a row is a preference row. Raises RowError where no format, or two, are announced.
    """
    if not isinstance(row, Mapping):
        raise RowError("row", f"is a JSON {_json_type(row)}, not an object", code="data.not_an_object")
    chat = [key for key in ("messages", "conversations") if row.get(key) is not None]
    pair = any(row.get(key) is not None for key in SIDES)
    if pair and not (chat and want == "chat"):
        return "preference"
    if len(chat) == 2:
        raise RowError("row", "has both 'messages' and 'conversations': keep one", code="data.two_formats")
    if not chat:
        keys = ", ".join(str(key) for key in row) or "no key at all"
        raise RowError(
            "row",
            f"has no 'messages', 'conversations' or 'chosen' and 'rejected', only: {keys}",
            code="data.unknown_format",
        )
    return "conversations" if chat == ["conversations"] else "messages"


def conversation(row: Mapping[str, Any]) -> list[Message]:
    """Return the row's turns as role/content messages: optional system, then user and assistant in turn.

    Reads `messages` (role/content) or ShareGPT `conversations` (from/value). Raises RowError unless the last turn
    is the assistant's, every text is non-blank, a turn has loss and no other key would change what is trained.
    """
    form = row_format(row, "chat")
    if form == "preference":
        raise RowError(
            "row", "has 'chosen' or 'rejected', but neither 'messages' nor 'conversations'", code="data.other_kind"
        )
    # axolotl turns this key into a first turn, and stops where it is null (one row without it is enough).
    if "system" in row:
        raise RowError(
            "system",
            f"is a key beside '{form}': make it the first turn, with role 'system'",
            code="data.key_not_trained",
        )
    check_row_keys(row)
    messages = _turns(row[form], form, *(SHAREGPT if form == "conversations" else OPENAI))
    _check_order(messages, form, last="assistant")
    if not any(message["role"] == "assistant" and "train" not in message for message in messages):
        raise RowError(form, "has no turn to train on: all of the assistant's are masked", code="data.all_masked")
    _check_prompt(row, messages)
    return messages


def masking_keys(row: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the keys that each masked assistant turn of a chat row is masked by, or None where none is masked."""
    form = row_format(row, "chat")
    names, roles = SHAREGPT if form == "conversations" else OPENAI
    assistants = [turn for turn in row[form] if roles[turn[names[0]]] == "assistant"]
    masked = [turn for turn in assistants if not trained(turn, form, assistant=True)]
    by = [frozenset(key for key in MASKS if turn.get(key) is not None) for turn in masked]
    return frozenset.intersection(*by) if by else None


def preference(row: Mapping[str, Any]) -> Preference:
    """Return the row's prompt and its two answers.

    `chosen` and `rejected` are message lists that both contain the prompt, or answers only (a string, or
    a list of one assistant message) beside `prompt` (a string is one user turn; a list ends with the user's)
    and an optional `system`. Only the last assistant turn is the answer. Raises RowError when the two answers
    are the same text, or their prompts differ.
    """
    if row_format(row, "preference") != "preference":
        raise RowError(
            "row", "has neither 'chosen' nor 'rejected': it is a chat row, not a preference row", code="data.other_kind"
        )
    for key in SIDES:
        if row.get(key) is None:
            raise RowError(key, "is missing", code="data.key_missing")
        if type(row[key]) is not type(row["chosen"]):
            raise RowError(
                key, "and 'chosen' differ in form: both must be strings, or both message lists", code="data.wrong_type"
            )
    check_row_keys(row)
    if isinstance(row["chosen"], str):
        pair = Preference(_prompt(row), *({"role": "assistant", "content": _text(row, k, k)} for k in SIDES))
    else:
        pair = _from_lists(row)
    if pair.chosen["content"].strip() == pair.rejected["content"].strip():
        raise RowError(
            "rejected", "is the same text as 'chosen': no preference can be learnt from it", code="data.answers_equal"
        )
    return pair


def passed_over(row: Mapping[str, Any], want: Kind) -> dict[str, bool]:
    """Return the keys of a good row that nothing reads (`id`, `messages[].name`), and whether they have a value."""
    if want == "preference":
        return unused_keys(row, ("prompt", "system", *SIDES), dict.fromkeys(("prompt", *SIDES), OPENAI[0]))
    form = row_format(row, "chat")
    return unused_keys(row, (form, "prompt"), {form: (SHAREGPT if form == "conversations" else OPENAI)[0]})


def read_rows(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, parsed row) of a JSON Lines file, without holding more than one line.

    Blank lines and a leading byte order mark are passed over, as the `datasets` JSON loader does.
    Raises ValueError for a line that is not UTF-8 or not JSON.
    """
    with Path(path).open("rb") as stream:
        for number, line in enumerate(bounded_lines(stream), start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if text.strip():
                yield number, _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deep to be read") from None


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, whatever the format of the row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def _from_lists(row: Mapping[str, Any]) -> Preference:
    turns = {side: _turns(row[side], side, *OPENAI) for side in SIDES}
    for side in SIDES:
        if "train" in turns[side][-1]:
            raise RowError(
                f"{side}[{len(turns[side]) - 1}]",
                "is masked, and nothing else of the row has loss",
                code="data.all_masked",
            )
        turns[side] = _unmasked(turns[side])
    if all(len(messages) == 1 for messages in turns.values()):
        for side in SIDES:
            if turns[side][0]["role"] != "assistant":
                raise RowError(side, "has no assistant turn", code="data.wrong_turn_order")
        return Preference(_prompt(row), turns["chosen"][0], turns["rejected"][0])
    for side in SIDES:
        _check_order(turns[side], side, last="assistant")
    prompt, other = turns["chosen"][:-1], turns["rejected"][:-1]
    if prompt != other:
        at = next((i for i, pair in enumerate(zip(prompt, other, strict=False)) if pair[0] != pair[1]), None)
        at = min(len(prompt), len(other)) if at is None else at
        raise RowError(
            f"rejected[{at}]",
            "differs from 'chosen': only the last assistant turn may differ",
            code="data.prompts_differ",
        )
    prompt = _with_system(row, prompt, "chosen")
    _check_prompt(row, prompt, whole=True)
    return Preference(prompt, turns["chosen"][-1], turns["rejected"][-1])


def _with_system(row: Mapping[str, Any], messages: list[Message], key: str) -> list[Message]:
    """Return the messages with the row's `system` as their first turn, where they have none."""
    if row.get("system") is None:
        return messages
    system = {"role": "system", "content": _text(row, "system", "system")}
    if messages[0]["role"] != "system":
        return [system, *messages]
    if messages[0] != system:
        raise RowError(
            "system", f"differs from the first turn of '{key}': keep one of the two", code="data.system_differs"
        )
    return messages


def _check_prompt(row: Mapping[str, Any], messages: list[Message], *, whole: bool = False) -> None:
    """Raise RowError where `prompt` says what the turns do not; most sets repeat the first question in it."""
    prompt = row.get("prompt")
    if not prompt:
        return
    if isinstance(prompt, str):
        said = " ".join(" ".join(message["content"] for message in messages).split())
        same = " ".join(prompt.split()) in said
    else:
        turns, beside = _unmasked(_turns(prompt, "prompt", *OPENAI)), _unmasked(messages)
        starts = (0, 1) if beside[0]["role"] == "system" else (0,)
        same = any(turns == beside[at : None if whole else at + len(turns)] for at in starts)
    if not same:
        raise RowError(
            "prompt", "differs from the turns beside it: take it out, or put it into them", code="data.prompts_differ"
        )


def _unmasked(messages: list[Message]) -> list[Message]:
    """Return the messages without their masks, which are no matter where the loss is on the last turn alone."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _prompt(row: Mapping[str, Any]) -> list[Message]:
    prompt = row.get("prompt")
    if prompt is None:
        raise RowError("prompt", "is missing: 'chosen' and 'rejected' hold the answers only", code="data.key_missing")
    if isinstance(prompt, str):
        messages = [{"role": "user", "content": _text(row, "prompt", "prompt")}]
    else:
        messages = _unmasked(_turns(prompt, "prompt", *OPENAI))
    messages = _with_system(row, messages, "prompt")
    _check_order(messages, "prompt", last="user")
    return messages


def _turns(value: object, key: str, names: tuple[str, str], roles: Mapping[str, str]) -> list[Message]:
    role, content = names
    if not isinstance(value, list):
        raise RowError(key, f"is a JSON {_json_type(value)}, not a list of messages", code="data.wrong_type")
    if not value:
        raise RowError(key, "is an empty list", code="data.empty")
    messages = []
    for index, item in enumerate(value):
        place = f"{key}[{index}]"
        if not isinstance(item, Mapping):
            raise RowError(place, f"is a JSON {_json_type(item)}, not an object", code="data.not_an_object")
        name = item.get(role)
        if name is None:
            raise RowError(f"{place}.{role}", "is missing", code="data.key_missing")
        if not isinstance(name, str) or name not in roles:
            raise RowError(f"{place}.{role}", f"is {name!r}, not one of {', '.join(roles)}", code="data.unknown_role")
        check_turn_keys(item, names, place)
        message = {"role": roles[name], "content": _text(item, content, f"{place}.{content}")}
        assistant = message["role"] == "assistant"
        loss = trained(item, place, assistant=assistant)
        messages.append({**message, "train": False} if assistant and not loss else message)
    return messages


def _check_order(messages: list[Message], key: str, *, last: str) -> None:
    start = 1 if messages[0]["role"] == "system" else 0
    if start == len(messages):
        raise RowError(key, "holds only a system turn", code="data.wrong_turn_order")
    for index, message in enumerate(messages[start:], start=start):
        expected = "user" if (index - start) % 2 == 0 else "assistant"
        if message["role"] != expected:
            before = f"after {messages[index - 1]['role']!r}" if index else "as the first turn"
            raise RowError(
                f"{key}[{index}]",
                f"has role {message['role']!r} {before}, expected {expected!r}",
                code="data.wrong_turn_order",
            )
    if messages[-1]["role"] != last:
        place, role = f"{key}[{len(messages) - 1}]", messages[-1]["role"]
        raise RowError(
            place, f"is the last turn and has role {role!r}, expected {last!r}", code="data.wrong_turn_order"
        )


def _text(holder: Mapping[str, Any], key: str, place: str) -> str:
    text = holder.get(key)
    if text is None:
        raise RowError(place, "is missing", code="data.key_missing")
    if not isinstance(text, str):
        raise RowError(place, f"is a JSON {_json_type(text)}, not a string", code="data.wrong_type")
    if invisible(text):
        hidden = "" if not text.strip() else ": it holds characters that cannot be seen alone"
        raise RowError(place, f"is blank{hidden}", code="data.blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # A JSON escape such as \ud83d alone: half an emoji, which no tokenizer can encode.
        raise RowError(
            place, f"holds half a surrogate pair at character {error.start}", code="data.broken_text"
        ) from error
    return text


def _json_type(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
