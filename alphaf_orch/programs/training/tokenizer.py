"""The tokenizer and chat template as the trainer sets them up, whether they end a turn, and the tokens they give."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from alphaf_orch.programs.architectures.orion import register_files
from alphaf_orch.programs.common import CONFIG, DATA, MODEL, Failure
from alphaf_orch.programs.rows import Message
from alphaf_orch.programs.training.data_rows import Row
from alphaf_orch.programs.turn_end import NO_END, NO_END_FIX, closing, misplaced, tokenizer_tails, tokens_of


def trainer_tokenizer(config: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the tokenizer with its added tokens and the chat template text, as axolotl sets both up."""
    from transformers import AddedToken

    tokenizer = _loaded(config)

    def token(text: str) -> AddedToken:
        return AddedToken(text, rstrip=False, lstrip=False, normalized=False)

    special = {kind: text for kind, text in (config["special_tokens"] or {}).items() if isinstance(text, str)}
    tokenizer.add_special_tokens({kind: token(text) for kind, text in special.items()})
    tokenizer.add_tokens([token(text) for text in config["added_tokens"] or []])
    return tokenizer, _template(config, tokenizer)


def _loaded(config: Mapping[str, Any]) -> Any:
    from transformers import AutoTokenizer

    register_files()
    name = config["tokenizer"]
    try:
        return AutoTokenizer.from_pretrained(
            name, revision=config["revision"], trust_remote_code=config["trust_remote_code"]
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        fix = "Give a folder with tokenizer files, or bring the model into the Hugging Face cache"
        raise Failure(
            MODEL, f"cannot load the tokenizer: {reason}", where=name, fix=fix, code="model.tokenizer_unusable"
        ) from error


def _template(config: Mapping[str, Any], tokenizer: Any) -> str:
    choice = config["chat_template"]
    if choice is None:
        if not tokenizer.chat_template:
            what, fix = "the tokenizer has no chat template of its own", "Name a chat template, for example chatml"
            raise Failure(MODEL, what, where=config["tokenizer"], fix=fix, code="model.no_chat_template")
        own: str = tokenizer.chat_template
        return own
    try:
        # 8 ms once transformers is loaded, and the one place that knows what axolotl's names stand for.
        from axolotl.utils.chat_templates import get_chat_template

        known: str = get_chat_template(choice, config["chat_template_jinja"], tokenizer)
        return known
    except ImportError as error:
        fix = "Run this with the python of the axolotl environment, or set chat_template to null"
        raise Failure(
            MODEL,
            f"axolotl is not installed here: {error}",
            where=sys.executable,
            fix=fix,
            code="model.axolotl_missing",
        ) from error
    except ValueError as error:
        fix = "Use a name axolotl knows, for example chatml, or null for the tokenizer's own"
        raise Failure(
            MODEL, str(error), where=f"chat_template: {choice}", fix=fix, code="model.unknown_template"
        ) from error


def check_end(tokenizer: Any, template: str, config: Mapping[str, Any]) -> None:
    """Raise Failure where an assistant's turn would be trained without its end.

    `eot_tokens` of the config is what the recipe says: null for eos alone, an empty list where no end is wanted.
    """
    from jinja2 import TemplateError

    given = config.get("eot_tokens")
    if given == []:
        return
    try:
        tails = tokenizer_tails(tokenizer, template)
    except TemplateError:
        return  # it takes no second question; the rows themselves are rendered next
    if given:
        _check_given_end(tokenizer, tails, given)
        return
    where = f"chat_template: {config['chat_template'] or 'of the tokenizer'}"
    end = closing(tails, tokens_of(tokenizer))
    if end is None:
        raise Failure(MODEL, NO_END, where=where, fix=NO_END_FIX, code="model.turn_end_unusable")
    if end != tokenizer.eos_token and config["kind"] == "chat":
        what = f"the chat template ends an assistant's turn with {end}, which the recipe does not name"
        raise Failure(
            MODEL,
            what,
            where=where,
            fix=f"say --set sft.eot_tokens=[{json.dumps(end)}]",
            code="model.turn_end_unusable",
        )


def _check_given_end(tokenizer: Any, tails: Sequence[str], given: Sequence[str]) -> None:
    problem = misplaced(tails, given)
    split = next((token for token in given if len(tokenizer.encode(token, add_special_tokens=False)) != 1), None)
    if split and not problem:
        problem = f"{split} is no token of the vocabulary, so its pieces would be trained"
    if problem:
        raise Failure(
            CONFIG,
            problem,
            where=f"eot_tokens: {given}",
            fix="name the token that closes an answer",
            code="config.turn_end_unusable",
        )


def token_ids(tokenizer: Any, template: str, rows: Sequence[Row]) -> list[list[list[int]]]:
    """Return the tokens of every row's conversations, rendered by the call axolotl makes."""
    from jinja2 import TemplateError

    flat = [messages for _, row in rows for messages in row]
    try:
        ids = iter(render(tokenizer, template, flat))
    except TemplateError as error:
        if len(rows) > 1:  # Again one by one, to name the row.
            return [token_ids(tokenizer, template, [row])[0] for row in rows]
        (path, number), _ = rows[0]
        fix = "Change the row, or choose another chat_template"
        what = f"the chat template refuses this row: {error}"
        raise Failure(DATA, what, where=f"{path} {number}", fix=fix, code="data.template_refuses") from error
    return [[next(ids) for _ in row] for _, row in rows]


def render(
    tokenizer: Any, template: str, conversations: list[list[Message]], *, open_turn: bool = False
) -> list[list[int]]:
    """Return each conversation's tokens, with `open_turn` up to where the assistant would answer."""
    ids: list[list[int]] = tokenizer.apply_chat_template(
        conversations, chat_template=template, add_generation_prompt=open_turn, tokenize=True, return_dict=False
    )
    return ids
