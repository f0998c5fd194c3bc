"""Whether the texts of the data reach the model as they are: past the chat template, and through the tokenizer."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from alphaf_orch.programs.common import DATA, MODEL, Failure

SAMPLE = 64  # ours: conversations that are looked at; what a normaliser does it does in most of them
CHANGED_SHARE = 0.5  # ours: a tokenizer that alters most conversations cannot be trained to write them


def left_out(tokenizer: Any, template: str, conversations: Iterable[Sequence[Any]]) -> Counter[str]:
    """Return in how many conversations the rendered text lacks the text of a turn, by the turn's role."""
    found: Counter[str] = Counter()
    for messages in conversations:
        text = _plain(tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False))
        found.update({message["role"] for message in messages if _plain(message["content"]) not in text})
    return found


def check_left_out(found: Counter[str], looked_at: int, where: str) -> list[str]:
    """Return what should be said of texts that the chat template leaves out; raise Failure for those of a system."""
    if found["system"]:
        what = f"the chat template leaves out the system turn of {found['system']} of {looked_at} conversations"
        fix = "move its text into the user's first turn, or choose another chat_template"
        raise Failure(DATA, what, where=where, fix=fix, code="data.system_turn_refused")
    roles = ", ".join(f"texts of {role} in {number}" for role, number in sorted(found.items()))
    return [f"the chat template leaves out or changes texts, of {looked_at} conversations: {roles}"] if roles else []


class Spelling:
    """What a tokenizer gives back of the texts; guarantees that only the first SAMPLE conversations are asked."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.conversations = self.changed = self.other_form = 0
        self.example: tuple[str, str] | None = None

    def add(self, messages: Sequence[Any]) -> None:
        """Look at a conversation's texts, those aside that hold unknown tokens: they are counted as such."""
        if self.conversations == SAMPLE:
            return
        self.conversations += 1
        pairs = [pair for message in messages if (pair := self._there_and_back(message["content"]))]
        altered = [pair for pair in pairs if _composed(pair[0]) != _composed(pair[1])]
        self.changed += bool(altered)
        self.other_form += bool(pairs) and not altered
        if altered and self.example is None:
            self.example = _first_difference(*map(_composed, altered[0]))

    def _there_and_back(self, text: str) -> tuple[str, str] | None:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if self.tokenizer.unk_token_id in ids:
            return None
        back = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        pair = _plain(text), _plain(back)
        return pair if pair[0] != pair[1] else None

    def check(self, where: str) -> list[str]:
        """Return what should be said of the tokenizer; raise Failure where it alters most conversations."""
        notes = []
        if self.example:
            before, after = self.example
            what = (
                f"the tokenizer changes texts of {self.changed} of {self.conversations} conversations, such as"
                f" {before!r} into {after!r}"
            )
            if self.changed > CHANGED_SHARE * self.conversations:
                fix = "choose a model whose tokenizer keeps the text, or write the data as it gives it back"
                raise Failure(
                    MODEL,
                    f"{what}: the model would never learn to write them",
                    where=where,
                    fix=fix,
                    code="model.tokenizer_changes_text",
                )
            notes.append(f"{what}; the model learns to write the latter")
        if self.other_form:
            notes.append(
                f"the tokenizer gives texts of {self.other_form} of {self.conversations} conversations back in another"
                " Unicode form (NFC, NFD): the same to read, other code points"
            )
        return notes


def bos_notes(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Return what should be said of the bos that a rendered conversation, as its ids, begins with."""
    bos, own = tokenizer.bos_token_id, list(tokenizer("1")["input_ids"])
    if bos is None or not own or own[0] != bos:
        return []
    if list(ids[:2]) == [bos, bos]:
        return [f"the chat template writes {tokenizer.bos_token} twice"]
    if ids[0] != bos:
        return [
            f"the base model reads {tokenizer.bos_token} before every text, the chat template writes none: if answers"
            " come out poor, train a template that begins with {{ bos_token }}"
        ]
    return []


def _plain(text: str) -> str:
    return " ".join(text.split())


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _first_difference(before: str, after: str) -> tuple[str, str]:
    """Return the words around the first character that differs."""
    at = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    start = max(0, at - 4)
    return before[start : at + 6], after[start : at + 6]
