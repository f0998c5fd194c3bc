"""How a chat template closes an assistant's turn; pure, so that the plan and every child program find the same.

Models learn to stop by the token that stands right behind an answer. It is often not the tokenizer's eos: Gemma's
`<end_of_turn>`, Phi's `<|end|>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Render = Callable[[list[dict[str, str]]], str]
# Stand for the texts of two questions and answers; no template changes a word of letters.
WORDS = ("ALPHAFFIRSTQUESTION", "ALPHAFFIRSTANSWER", "ALPHAFSECONDQUESTION", "ALPHAFSECONDANSWER")
SYSTEM = "ALPHAFSYSTEM"
NO_END = "the chat template ends an assistant's turn with no token of its own, so the model would not learn to stop"
NO_END_FIX = (
    "use a template that has one (chatml), write one with chat_template=jinja and chat_template_jinja=FILE,"
    " or train without it: --set sft.eot_tokens=[]"
)


def conversation(*, system: bool = False) -> list[dict[str, str]]:
    """Return two questions with their answers, behind a system turn if it is asked for."""
    turns = [{"role": role, "content": word} for role, word in zip(("user", "assistant") * 2, WORDS, strict=True)]
    return [{"role": "system", "content": SYSTEM}, *turns] if system else turns


def tails(render: Render) -> tuple[str, ...]:
    """Return what a template writes behind an answer that another question follows, and behind the last answer.

    What `render` raises for a template that refuses the conversation passes through.
    """
    text = render(conversation())
    between = text.partition(WORDS[1])[2].partition(WORDS[2])[0]
    return between, text.partition(WORDS[3])[2]


def closing(found: Sequence[str], tokens: Iterable[str]) -> str | None:
    """Return the token that every tail begins with, blanks aside, or None where they begin with no common one."""
    longest_first = sorted(filter(None, tokens), key=len, reverse=True)
    first = [next((token for token in longest_first if tail.lstrip().startswith(token)), None) for tail in found]
    return first[0] if len(set(first)) == 1 else None


def misplaced(found: Sequence[str], given: Sequence[str]) -> str | None:
    """Return what is wrong with end tokens that a user gave for these tails, or None."""
    absent = [token for token in given if not any(token in tail for tail in found)]
    if absent:
        return f"the chat template writes no {absent[0]} behind an assistant's turn, but {found[-1]!r}"
    if not all(any(token in tail for token in given) for tail in found):
        return f"the chat template does not end every assistant's turn with one of {', '.join(given)}"
    return None


def tokens_of(tokenizer: Any) -> set[str]:
    """Return the texts that a tokenizer of transformers never takes apart: its special and its added tokens."""
    return {token.content for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)


def tokenizer_tails(tokenizer: Any, template: str | None = None) -> tuple[str, ...]:
    """Return the tails of a tokenizer's own chat template, or of `template`."""
    named: Mapping[str, Any] = {"chat_template": template} if template else {}
    return tails(lambda messages: str(tokenizer.apply_chat_template(messages, tokenize=False, **named)))


def tokenizer_end(tokenizer: Any) -> str | None:
    """Return the token that closes an assistant's turn in a tokenizer's chat template, or None."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        return None
    try:
        return closing(tokenizer_tails(tokenizer), tokens_of(tokenizer))
    except TemplateError:
        return None  # it takes no second question


def end_ids(tokenizer: Any, given: Sequence[str] | None = None) -> list[int]:
    """Return the ids of the tokens that close an assistant's turn: the given ones, else what the template writes."""
    end = tokenizer_end(tokenizer) if given is None else None
    texts = given if given is not None else [end] if end else []
    return [int(tokenizer.convert_tokens_to_ids(text)) for text in texts]
