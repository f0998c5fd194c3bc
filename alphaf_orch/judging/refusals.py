"""What a server's refusal means: this prompt's own end, an end for every prompt, or a state that passes."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

Kind = Literal["too_long", "filtered", "declined", "rejected", "for_all"]

WORDS: dict[str, str] = {
    "too_long": "the prompt is too long for the judge",
    "filtered": "a content filter of the judge",
    "declined": "the judge declined to answer",
    "rejected": "the server refuses the request",
}
_LATER = re.compile(r"(?:retry|try again) (?:in|after)|per (?:minute|second|hour|day)", re.IGNORECASE)
_MONEY = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?|funds)|exceeded your current quota|billing|out of credits?|payment",
    re.IGNORECASE,
)
# How vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio, OpenAI, Azure and Vertex put it.
_TOO_LONG = re.compile(
    r"context[_ ](?:length|size|window|limit|shift)|context (?:the )?overflow"
    r"|(?:prompt|input|message|request|sequence|conversation|payload|entity|body|text|string)s?\b"
    r".{0,40}?\btoo (?:long|large|big)"
    r"|longer than (?:the )?(?:model|maximum)|too many (?:input |prompt )?tokens|token limit|input length"
    r"|max(?:imum)?[_ -](?:model|seq|sequence|total|input|prompt)[_ -]?(?:len|length|tokens)"
    r"|(?:exceed\w*|above|greater than|more than)\b.{0,60}\btokens?\b|\btokens?\b.{0,60}\bexceed"
    r"|must have less than \d+ tokens|max_new_tokens`? must be <=|string_above_max_length|reduce the length",
    re.IGNORECASE,
)
# The limit of an answer, which is the preset's and not the prompt's.
_ANSWER_TOO_LONG = re.compile(r"at most \d+ completion tokens", re.IGNORECASE)
_FILTERED = re.compile(
    r"content[_ -]?(?:filter|policy|management|moderation)|responsible ?ai|moderation|flagged|usage polic"
    r"|safety (?:system|filter|policy|polic|reasons)|invalid_prompt|guardrail|data_inspection_failed|inappropriate"
    r"|prohibited[_ ]content",
    re.IGNORECASE,
)
_FOR_ALL = re.compile(
    r"unsupported[_ ](?:parameter|value)|unknown[_ ]parameter|unrecognized request argument"
    r"|extra[_ ](?:inputs|forbidden)|not supported|does not support|api[_ ]key|unauthorized"
    r"|model.{0,80}(?:not (?:be )?found|not exist)|(?:invalid|unknown|no such) model|model_not_found|no models? loaded"
    r"|system role|roles? must alternate|chat template",
    re.IGNORECASE,
)
_OWN = (400, 413, 422, 451)  # a later try of the same request meets the same answer
_HELD_BY_ALL = (401, 402, 403, 404, 405, 407, 410)
_MEASURED = 4000  # characters of a message that is no JSON: some servers repeat the whole request


def kind_of(status: int, body: str) -> Kind | None:
    """Return what an answer with this status and body is the end of; None where another try may go well.

    A 400 or 422 of no known wording is `rejected`: the prompt's own end, as far as anybody can tell.
    """
    told = message(body)
    if status == 429:
        if _MONEY.search(told) and not _LATER.search(told):
            return "for_all"
        # A single request above the allowance of a minute; a rate limit names what is used already.
        return "too_long" if re.search(r"request too large", told, re.IGNORECASE) else None
    if status in (*_OWN, 403) and _FILTERED.search(told):
        return "filtered"
    if status < 400 or status in _HELD_BY_ALL or _ANSWER_TOO_LONG.search(told):
        return "for_all"
    if status == 413 or _TOO_LONG.search(told):
        return "too_long"  # with 500 from llama.cpp and Ollama of some versions
    if status not in _OWN:
        return None
    return "for_all" if _FOR_ALL.search(told) or _MONEY.search(told) else "rejected"


def hint(told: str) -> str | None:
    """Return which key of the preset answers to a complaint about the request's fields; None for any other one."""
    wanted = {
        "max_completion_tokens": "set `max_tokens_field: max_completion_tokens` in the judge's preset",
        "temperature": "set `temperature: null` in the judge's preset",
        "system": "take `system` out of the judge's preset",
        "completion tokens": "lower `max_tokens` in the judge's preset",
        "extra": "look at `extra_body` of the judge's preset",
    }
    return next((fix for word, fix in wanted.items() if word in told.lower()), None)


def message(body: str) -> str:
    """Return what an error's body says, without what it repeats of the request."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body[:_MEASURED]
    return (" ".join(_words(value)) or body)[:_MEASURED]


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):  # of FastAPI: one object a field
        return [word for each in value[:20] for word in _words(each)]
    if not isinstance(value, dict):
        return []
    keys = (
        "error",
        "errors",
        "message",
        "msg",
        "detail",
        "details",
        "code",
        "type",
        "error_type",
        "param",
        "metadata",
        "raw",
    )
    return [word for key in keys for word in _words(value.get(key))]
