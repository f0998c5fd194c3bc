"""Which keys a row and its turns may have beside their text: read, refused by name, or not used and counted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# Whether an assistant's turn is in the loss, as people write it: axolotl reads one of them (message_field_training).
MASKS = ("train", "training", "weight")
# Read by a trainer, a loader or a chat template beside the text, so without them something else would be trained.
TEXT_ONLY = {
    "tools", "functions", "function_call", "tool_calls", "tool_call_id", "tool_choice", "images", "image",
    "videos", "video", "audios", "audio", "documents", "thinking", "reasoning", "reasoning_content",
    "chat_template", "chat_template_kwargs", "loss_mask", "train_detail", "training_detail", "input_ids",
}  # fmt: skip
# The other kind's keys of a row that carries both a conversation and a preference.
OTHER_KIND = {"messages", "conversations", "chosen", "rejected"}
# About a row, not for the model: the last word of a key (prompt_id, chosen_rating), or the first (score_chosen).
_ABOUT = {
    "about", "author", "category", "categories", "config", "confidence", "country", "created", "dataset",
    "date", "datetime", "difficulty", "domain", "file", "filename", "hash", "header", "id", "identifier", "ids",
    "idx", "index", "ip", "key", "lang", "language", "length", "license", "licence", "line", "link", "locale",
    "meta", "metadata", "model", "models", "name", "num", "number", "origin", "page", "path", "rating",
    "ratings", "redacted", "revision", "score", "scores", "seed", "set", "sha256", "source", "sources", "split",
    "state", "status", "subcategory", "subset", "tag", "tags", "time", "timestamp", "topic", "topics", "toxic",
    "turn", "turns", "type", "types", "updated", "uid", "uri", "url", "username", "uuid", "version", "year",
}  # fmt: skip
_ABOUT_FIRST = {"score", "rating", "meta", "metadata", "num"}
_CONTENT_FIRST = {"image", "images", "audio", "video", "tool", "tools", "function", "system", "reasoning", "thinking"}


class RowError(ValueError):
    """A row that must not be trained on; str() is the reason, `key` the place inside the row, `code` the identifier."""

    def __init__(self, key: str, problem: str, *, code: str) -> None:
        super().__init__(f"{key} {problem}")
        self.key = key
        self.problem = problem
        self.code = code


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in names if names.count(key) > 1)!r} is given twice")
    return found


# Raises ValueError where an object has a key twice. Made once: json.loads would make one for each line.
UNIQUE_KEYS = json.JSONDecoder(object_pairs_hook=_unique_keys)


def is_metadata(key: str) -> bool:
    """Return whether a key by its name is about the row and not for the model (`id`, `chosen_rating`, `lang`)."""
    words = [word.lower() for word in re.split(r"[^0-9A-Za-z]+|(?<=[a-z])(?=[A-Z])", key) if word]
    if not words or words[0] in _CONTENT_FIRST:
        return False
    return key in OTHER_KIND or words[-1] in _ABOUT or words[0] in _ABOUT_FIRST


def is_empty(value: object) -> bool:
    """Return whether a value says nothing: null, or an empty text, list or object."""
    return value is None or (isinstance(value, str | list | Mapping) and not value)


def trained(turn: Mapping[str, Any], place: str, *, assistant: bool) -> bool:
    """Return whether the turn is in the loss by its MASKS; raise RowError where axolotl could not do as they say."""
    said = {key: turn[key] for key in MASKS if turn.get(key) is not None}
    for key, value in said.items():
        # One type a key: the loader would stop at a column of numbers and booleans.
        if isinstance(value, bool) == (key == "weight") or value not in (0, 1):
            known = "0 or 1" if key == "weight" else "true or false"
            raise RowError(
                f"{place}.{key}",
                f"is {value!r}, not {known}: a turn is trained on, or it is not",
                code="data.wrong_mask",
            )
        if value and not assistant:
            raise RowError(
                f"{place}.{key}", "asks to train on a turn that is not the assistant's", code="data.wrong_mask"
            )
    if len(set(map(bool, said.values()))) > 1:
        raise RowError(
            place,
            f"says two things: {', '.join(f'{key} is {value!r}' for key, value in said.items())}",
            code="data.wrong_mask",
        )
    return assistant and all(said.values())


def check_turn_keys(turn: Mapping[str, Any], read: tuple[str, ...], place: str) -> None:
    """Raise RowError for a key of a turn that is neither read, nor empty, nor about the turn alone."""
    for key, value in turn.items():
        if key in read or key in MASKS or is_empty(value):
            continue
        if key in TEXT_ONLY or not is_metadata(key):
            raise RowError(
                f"{place}.{key}", "is set: only the text of a turn can be trained on", code="data.key_not_trained"
            )


def check_row_keys(row: Mapping[str, Any]) -> None:
    """Raise RowError for a key beside the turns that changes what a model is trained on, and is not read here."""
    for key, value in row.items():
        # axolotl reads any text here as JSON and stops at an object.
        none = value in (None, [], "[]") if key == "tools" else is_empty(value)
        if key in TEXT_ONLY and not none:
            raise RowError(key, "is set: only the text of a turn can be trained on", code="data.key_not_trained")
    if "input_ids" in row:
        raise RowError(
            "input_ids",
            "is a key of the row: the data loader would take the rows for tokenised ones",
            code="data.key_not_trained",
        )
    for key in MASKS:
        if row.get(key) not in (None, 1):
            raise RowError(
                key,
                f"is {row[key]!r} for the whole row: leave out a row that is not to be trained on",
                code="data.wrong_mask",
            )


def unused_keys(row: Mapping[str, Any], read: tuple[str, ...], lists: Mapping[str, tuple[str, ...]]) -> dict[str, bool]:
    """Return the keys that were passed over, `messages[].name` for one of turns, and whether any has a value.

    `read` are the row's keys that were read, `lists` those that hold turns, with the turns' keys that were read.
    """
    known = {*read, *MASKS, *TEXT_ONLY}
    found = {key: True for key, value in row.items() if not (key in known or is_empty(value))}
    for name, keys in lists.items():
        for turn in row[name] if isinstance(row.get(name), list) else ():
            for key, value in turn.items():
                if key not in keys and key not in MASKS and value is not None:
                    place = f"{name}[].{key}"
                    found[place] = found.get(place, False) or not is_empty(value)
    return found
