"""From a judge's reply to its verdict: one JSON object with the agreed keys and values, or none at all."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.judging.spelling import spelt
from alphaf_orch.judging.thoughts import closed, opened

# A verdict is a line or two; an answer this long, thoughts aside, is no verdict and not worth searching.
MAX_CHARS = 20_000
_BEGUN = re.compile(r'\{\s*"')
_FENCED = re.compile(r"```\w*\s*(\{.*\})\s*```", re.DOTALL)
_SINGLE_QUOTED = re.compile(r"\{\s*'[^{}]*\}")
# The escapes of JSON; any other backslash is one that the judge meant, of LaTeX mostly: \(3\%\).
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')


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
    verdicts = [value for value in _answered(reply) if key in value]
    if not verdicts:
        raise UnreadableError(f"no key {key!r}")
    said = {_value(value[key], allowed) or repr(value[key]) for value in verdicts}
    if len(said) > 1:
        raise UnreadableError(f"several objects with different {key!r}")
    return _checked(verdicts[-1], key, allowed)


def _answered(reply: str) -> list[dict[str, Any]]:
    """Return the objects of the answer, behind any thoughts."""
    alone = _alone(reply)  # whatever stands inside its texts are no marks of thoughts
    if alone is not None:
        return [alone]
    answer = reply[closed(reply) :]
    if mark := _thinking(answer):
        raise UnreadableError(f"the reply ends inside {mark}; max_tokens may be too small")
    if len(answer) > MAX_CHARS:
        raise UnreadableError(f"the reply is {len(answer)} characters long")
    found = [value for value, _ in _objects(answer)]
    if not found:
        raise UnreadableError("no JSON object")
    return found


def _alone(reply: str) -> dict[str, Any] | None:
    """Return the object that a reply is and nothing else, a code block around it aside; None for any other reply."""
    text = reply.strip()
    if len(text) > MAX_CHARS or text[:1] not in ("{", "`"):
        return None
    fenced = _FENCED.fullmatch(text)
    try:
        value = _DECODER.decode(_escaped(fenced[1] if fenced else text))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _thinking(answer: str) -> str | None:
    """Return the mark of thoughts that were begun and not ended; one inside an object's texts is none."""
    if not opened(answer) or len(answer) > MAX_CHARS:
        return opened(answer)
    outside, last = [], 0
    text = _escaped(answer)
    try:
        for _, (start, end) in _objects(answer):
            outside.append(text[last:start])
            last = end
    except UnreadableError:
        return opened(answer)
    return opened("\0".join([*outside, text[last:]]))


def _checked(value: dict[str, Any], key: str, allowed: Sequence[str]) -> Verdict:
    if value.keys() != {key, "reason"}:
        raise UnreadableError(f"the keys are {', '.join(sorted(value))}")
    said = _value(value[key], allowed)
    if said is None:
        raise UnreadableError(f"{key} is {str(value[key])[:40]!r}")
    if not isinstance(value["reason"], str):
        raise UnreadableError("the reason is no text")
    return Verdict(said, value["reason"])


def _value(value: object, allowed: Sequence[str]) -> str | None:
    return spelt(value, allowed) if isinstance(value, str) else None


def _objects(answer: str) -> Iterator[tuple[dict[str, Any], tuple[int, int]]]:
    """Yield the JSON objects in a text that are not inside one another, and their places in it with its escapes."""
    text = _escaped(answer)
    position = text.find("{")
    while position >= 0:
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            if _BEGUN.match(text, position):
                # What stands inside an object that broke off may be a draft.
                raise UnreadableError("a JSON object that is broken or cut off") from None
            end = position + 1
            quoted = _SINGLE_QUOTED.match(text, position)
            if quoted and (value := _python(quoted.group())) is not None:
                end = quoted.end()
                yield value, (position, end)
        else:
            yield value, (position, end)
        position = text.find("{", end)


def _escaped(text: str) -> str:
    """Return the text with every backslash that begins no escape of JSON doubled."""
    return _ESCAPE.sub(lambda found: found.group() if found[1] else "\\\\", text)


def _python(text: str) -> dict[str, Any] | None:
    """Return the flat object of texts that a judge wrote as Python does; None where it is anything else."""
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    parts = [*node.keys, *node.values] if isinstance(node, ast.Dict) else []
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    names = texts[: len(parts) // 2]
    if not parts or len(texts) != len(parts) or len(set(names)) != len(names):
        return None
    return dict(zip(names, texts[len(names) :], strict=True))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is there twice")
    return made


# Not strict: judges write line ends and tabs into their texts as they are.
_DECODER = json.JSONDecoder(object_pairs_hook=_once, strict=False)
