"""From a judge's reply to its verdict: one JSON object with the agreed keys and values, or none at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# A verdict is a line or two; anything this long is no verdict and not worth searching.
MAX_CHARS = 20_000
_BEGUN = re.compile(r'\{\s*"')


@dataclass(frozen=True)
class Verdict:
    """What the judge decided, and why in its own words."""

    value: str
    reason: str


class UnreadableError(ValueError):
    """A reply without a verdict; says what is wrong with it."""


def parse_verdict(reply: str, key: str, allowed: Sequence[str]) -> Verdict:
    """Return the verdict in a reply; raise UnreadableError where it holds none, or two that differ.

    Text around the object is passed over, and so is what a reasoning model thought aloud before its answer.
    """
    if len(reply) > MAX_CHARS:
        raise UnreadableError(f"the reply is {len(reply)} characters long")
    _, closed, answer = reply.rpartition("</think>")
    if not closed and "<think>" in reply:
        raise UnreadableError("the reply ends inside <think>; max_tokens may be too small")
    found = list(_objects(answer if closed else reply))
    if not found:
        raise UnreadableError("no JSON object")
    verdicts = [value for value in found if key in value]
    if not verdicts:
        raise UnreadableError(f"no key {key!r}")
    if len({repr(value[key]) for value in verdicts}) > 1:
        raise UnreadableError(f"several objects with different {key!r}")
    return _checked(verdicts[-1], key, allowed)


def _checked(value: dict[str, Any], key: str, allowed: Sequence[str]) -> Verdict:
    if value.keys() != {key, "reason"}:
        raise UnreadableError(f"the keys are {', '.join(sorted(value))}")
    if value[key] not in allowed:
        raise UnreadableError(f"{key} is {str(value[key])[:40]!r}")
    if not isinstance(value["reason"], str):
        raise UnreadableError("the reason is no text")
    return Verdict(value[key], value["reason"])


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text that are not inside one another."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            if _BEGUN.match(text, position):
                # What stands inside an object that broke off may be a draft.
                raise UnreadableError("a JSON object that is broken or cut off") from None
            end = position + 1
        else:
            yield value
        position = text.find("{", end)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is there twice")
    return made
