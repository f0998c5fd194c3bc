"""What a chat template asks of a tokenizer: the ids of its own text, those that end an answer, those unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# In place of what a person wrote: the first that the tokenizer can spell, else a word of the data.
NEUTRAL = ("zxq", "가나다", "1731")


@dataclass(frozen=True)
class TemplateTokens:
    """The ids of a template's own text, those of them a model must write itself, and text without an id."""

    ids: tuple[int, ...]
    written: tuple[int, ...]  # special or added tokens behind the last answer
    unknown: tuple[str, ...]  # pieces of the template's text that become the unknown token


def unknown_ids(tokenizer: Any, text: str, ids: Sequence[int]) -> int:
    """Return how many ids stand for text the tokenizer cannot spell; an unknown token that is spelt out counts not.

    Many tokenizers name their eos or bos as the unknown token too, and a template writes those on purpose.
    """
    if tokenizer.unk_token_id is None:
        return 0
    return max(0, ids.count(tokenizer.unk_token_id) - text.count(tokenizer.unk_token))


def skeletons(conversations: Iterable[Sequence[Any]], tokenizer: Any) -> list[list[dict[str, str]]]:
    """Return each order of roles among the conversations once, with a neutral text in every turn."""
    rows = list(conversations)
    words = (word for messages in rows for message in messages for word in message["content"].split())
    texts = (text for text in (*NEUTRAL, *words) if not unknown_ids(tokenizer, text, _ids(tokenizer, text)))
    text = next(texts, NEUTRAL[0])
    orders = dict.fromkeys(tuple(message["role"] for message in messages) for messages in rows)
    return [[{"role": role, "content": text} for role in order] for order in orders]


def template_tokens(
    tokenizer: Any, conversations: Iterable[Sequence[Any]], template: str | None = None
) -> TemplateTokens:
    """Return the tokens of the template's own text in the conversations (None: the tokenizer's own template)."""
    known = {*tokenizer.get_added_vocab().values(), *tokenizer.all_special_ids}
    ids: dict[int, None] = {}
    written: dict[int, None] = {}
    unknown: dict[str, None] = {}
    for messages in skeletons(conversations, tokenizer):
        text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
        found = _ids(tokenizer, text)
        ids |= dict.fromkeys(found)
        behind = text.rpartition(messages[-1]["content"])[2]
        written |= dict.fromkeys(i for i in _ids(tokenizer, behind) if i in known)
        neutral = messages[-1]["content"]
        spoilt = len(messages) * unknown_ids(tokenizer, neutral, _ids(tokenizer, neutral))
        if unknown_ids(tokenizer, text, found) > spoilt:
            unknown |= dict.fromkeys(_unknown_pieces(tokenizer, text, neutral))
    own = set(_ids(tokenizer, neutral)) if ids else set()
    return TemplateTokens(tuple(i for i in ids if i not in own), tuple(written), tuple(unknown))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _unknown_pieces(tokenizer: Any, text: str, neutral: str) -> list[str]:
    """Return the characters of a rendered text that the tokenizer cannot spell, the neutral text's aside."""
    written = text.replace(neutral, "")
    for token in sorted({*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}, key=len, reverse=True):
        written = written.replace(token, "")
    characters = dict.fromkeys(written)
    return [c for c in characters if unknown_ids(tokenizer, c, _ids(tokenizer, c))] or [written]
