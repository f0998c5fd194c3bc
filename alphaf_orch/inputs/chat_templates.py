"""Chat templates as the plan sees them: how they close an assistant's turn, and whether they take a system turn.

Rendered as transformers 5.16.1 renders them (utils/chat_template_utils.py), without transformers: that takes seconds.
A template is a program of somebody else's: it runs in jinja's sandbox and in a process with bounds (confined.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.nodes
import jinja2.parser
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alphaf_orch.core.errors import AlphafError, ConfigError, DataError, ModelError
from alphaf_orch.core.paths import SCHEMAS
from alphaf_orch.inputs.confined import OutOfBoundsError, confined
from alphaf_orch.inputs.model_files import added_tokens, read_template, special_tokens, template_file
from alphaf_orch.inputs.sources import Source
from alphaf_orch.programs import turn_end

OWN = "tokenizer_default"  # axolotl's name for the template in the model's tokenizer
_REFUSED = "which the chat template refuses"
EOS = "{eos_token}"  # stands for the model's eos in the recorded tails
# What a template's expressions may raise on values that they are not made for.
_BROKEN = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
# Where the model's tokens are not known: <|im_end|>, <end_of_turn>, [|endofturn|].
_MARKER = re.compile(r"<[^<>\s]+>|\[\|[^\[\]\s]+\|\]")


_Said = tuple[tuple[str, ...], bool, bool, str]


@dataclass(frozen=True)
class ChatTemplate:
    """What is known of the template that a run trains with; `tokens` None: its vocabulary is not on this machine."""

    name: str
    text: str | None  # None for one of axolotl's own
    tails: tuple[str, ...]
    takes_system: bool  # False: it ends with an error
    eos: str | None
    tokens: frozenset[str] | None
    drops_system: bool = False  # it writes the rest without a word

    @property
    def end(self) -> str | None:
        """The token that closes every assistant's turn, or None."""
        tokens = self.tokens
        if tokens is None:
            tokens = frozenset(match[0] for tail in self.tails if (match := _MARKER.match(tail.lstrip())))
        return turn_end.closing(self.tails, {*tokens, *([self.eos] if self.eos else [])})


def template_of(settings: Mapping[str, Any], folder: Path | None) -> ChatTemplate | None:
    """Return the template that axolotl's keys in `settings` name, or None where it can't be known before the launch.

    `folder` holds the model's tokenizer, if it is here. The keys: chat_template, chat_template_jinja (a text),
    special_tokens, tokens. Raises ConfigError, or ModelError where it is the model's own, for a template that is none,
    that does what the sandbox forbids, or that takes too long.
    """
    name = settings.get("chat_template") or OWN
    named = special_tokens(folder) if folder else {}
    special = {**named, **{k: v for k, v in (settings.get("special_tokens") or {}).items() if v}}
    eos = special.get("eos_token")
    own = read_template(folder) if folder else None
    fallback = f"{OWN}_fallback_"
    if name.startswith(fallback):
        name = OWN if own else name.removeprefix(fallback)
    if name in _recorded():
        record = _recorded()[name]
        tails = tuple(tail.replace(EOS, eos or "") for tail in record["tails"])
        # The large tokenizer.json need not be read for what is plain.
        plain = bool(eos) and all(tail.lstrip().startswith(str(eos)) for tail in tails)
        tokens = None if plain else _tokens(folder, settings, special)
        return ChatTemplate(name, None, tails, record["system"], eos, tokens, record.get("drops_system", False))
    text = settings.get("chat_template_jinja") if name == "jinja" else own
    if not text:
        return None
    place = f"chat_template: {name}" if name == "jinja" or folder is None else f"{template_file(folder)}"
    if name == "jinja":
        place = settings.get("chat_template_file") or place
    said = _asked(text, json.dumps(special), place, ConfigError if name == "jinja" else ModelError)
    if said is None:
        return None  # the data stage renders the real rows with the real tokenizer and says what is wrong
    tails, taken, dropped, wrong = said
    if wrong and name == "jinja":  # of the user's own; of a model's the data stage says what it does to real rows
        raise ConfigError(
            f"the chat template {wrong}",
            where=place,
            fix="mend the template; docs/chat-templates.md has one to begin with",
            code="config.template_not_as_trained",
        )
    if not tails:
        return None  # the data stage renders the real rows with the real tokenizer and says what is wrong
    return ChatTemplate(name, text, tails, taken, eos, _tokens(folder, settings, special), dropped)


@cache
def _asked(text: str, special: str, place: str, error: type[AlphafError]) -> _Said | None:
    """Return what a template writes behind answers, does with a system turn and does wrong; None where it refuses all.

    Raises `error` for a text that is no template, for what the sandbox forbids, and for one that takes too long.
    """
    try:
        found = confined(lambda: _render_all(text, json.loads(special)))
    except OutOfBoundsError as bound:
        raise error(
            f"the chat template cannot be used: {bound}",
            where=place,
            fix="mend the template, or name another one (such as --set sft.chat_template=chatml)",
            code=f"{error.domain}.template_unusable",
        ) from None
    if "problem" in found:
        raise error(
            f"the chat template {found['problem']}",
            where=f"{place} line {found['line']} of the template" if found["line"] else place,
            fix="mend the template, or name another one",
            code=f"{error.domain}.template_unusable",
        )
    if "refused" in found:
        return None
    return tuple(found["tails"]), found["taken"], found["dropped"], found["wrong"]


def _render_all(text: str, special: Mapping[str, str]) -> dict[str, Any]:
    """Return what `_asked` wants to know as JSON; runs in a process of its own."""
    try:
        template = _environment().from_string(text)
    except jinja2.TemplateSyntaxError as error:
        return {"problem": f"cannot be read: {error.message}", "line": error.lineno}
    except (SyntaxError, ValueError) as error:  # of the python that jinja makes of it: nested loops, 5,000 digits
        return {"problem": f"cannot be read: {error}", "line": None}

    def render(messages: list[dict[str, str]], asked: bool = False) -> str:
        return template.render(messages=messages, tools=None, documents=None, add_generation_prompt=asked, **special)

    try:
        tails = turn_end.tails(render)
        "".join(tails).encode()
        wrong = _unlike(render)
    except (SecurityError, OverflowError) as error:
        return {"problem": f"does what no template may: {error}", "line": None}
    except _BROKEN as error:
        if type(error) is jinja2.TemplateError:  # raise_exception: it takes no second question, for one
            return {"refused": True}
        return {"tails": [], "taken": True, "dropped": False, "wrong": f"fails with plain turns: {error}"}
    taken, dropped = of_system(render)
    return {"tails": tails, "taken": taken, "dropped": dropped, "wrong": wrong}


def _unlike(render: Callable[..., str]) -> str:
    """Return what in a template makes chat and evaluation differ from training, or loses texts; empty where nothing."""
    turns = turn_end.conversation()
    whole, prompt = render(turns[:2]), render(turns[:1], asked=True)
    for role, word in zip(("user", "assistant"), turn_end.WORDS, strict=False):
        if word not in whole:
            return f"leaves out what the {role} says"
    if not whole.startswith(prompt):
        return "writes a prompt (add_generation_prompt) that no trained conversation begins with"
    if not whole.removeprefix(prompt).startswith(turn_end.WORDS[1]):
        return "asks for an answer (add_generation_prompt) otherwise than a trained answer begins"
    return ""


def eot_tokens(template: ChatTemplate | None, given: Sequence[str] | None) -> list[str] | None:
    """Return axolotl's `eot_tokens` where an assistant's turn ends in another token than eos; None: no key is needed.

    `given` is what the user's recipe says: it wins, and is checked; an empty list means that no end is wanted. Raises
    ConfigError for a template that closes its turns with nothing, or with what axolotl would not find.
    """
    if template is None or given == []:
        return None
    if given:
        problem = turn_end.misplaced(template.tails, given) or _not_one_token(template, given)
        if problem:
            raise ConfigError(
                problem,
                where=f"key sft.eot_tokens: {list(given)}",
                fix=_name_it(template),
                code="config.turn_end_unusable",
            )
        return None
    end = template.end
    if end is None:
        raise ConfigError(
            turn_end.NO_END,
            where=f"chat_template: {template.name}",
            fix=turn_end.NO_END_FIX,
            code="config.turn_end_unusable",
        )
    if end == template.eos:
        return None
    if template.text is not None and end not in template.text:
        raise ConfigError(
            f"axolotl trains the end of a turn only where the chat template spells it, and {end} is put together there",
            where=f"chat_template: {template.name}",
            fix=f"write {end} itself into a copy of the template: chat_template=jinja, chat_template_jinja=FILE",
            code="config.turn_end_unusable",
        )
    return [end]


def refuse_systems(template: ChatTemplate | None, sources: Sequence[Source]) -> None:
    """Raise DataError where rows have a system turn and the chat template takes none, or leaves it out."""
    if template is None or (template.takes_system and not template.drops_system):
        return
    done = "which the chat template leaves out without a word" if template.takes_system else _REFUSED
    # Gemma's own markers: gemma3 puts the system's text into the first question, as Google's later templates do.
    other = "gemma3" if "<end_of_turn>" in template.tails[0] else "chatml"
    for source in sources:
        if source.systems:
            raise DataError(
                f"{source.systems} rows begin with a system turn, {done}",
                where=f"{source.path}; chat_template: {template.name}",
                fix="move the text into the user's first turn, or train another template"
                f" (such as --set sft.chat_template={other})",
                code="data.system_turn_refused",
            )


def _not_one_token(template: ChatTemplate, given: Sequence[str]) -> str | None:
    known = template.tokens
    if known is None:
        return None
    split = [token for token in given if token not in known and token != template.eos]
    return f"{split[0]} is no token of the vocabulary, so its pieces would be trained" if split else None


def _name_it(template: ChatTemplate) -> str:
    end = template.end
    named = f"use {end}" if end else "use a token that stands behind each of its answers"
    return f"{named}; or [] to train no end of a turn"


@cache
def _recorded() -> dict[str, dict[str, Any]]:
    record = json.loads((SCHEMAS / "chat_templates.json").read_text(encoding="utf-8"))
    templates: dict[str, dict[str, Any]] = record["templates"]
    return templates


def of_system(render: turn_end.Render) -> tuple[bool, bool]:
    """Return whether a template takes a system turn at all, and whether it takes it and leaves its text out."""
    try:
        text = render(turn_end.conversation(system=True))
    except jinja2.TemplateError:
        return False, False
    except _BROKEN:
        return True, False  # not refused on purpose
    return True, turn_end.SYSTEM not in text


def _tokens(folder: Path | None, settings: Mapping[str, Any], special: Mapping[str, str]) -> frozenset[str] | None:
    """Return the texts that the model's tokenizer never takes apart, or None where it is not here."""
    if folder is None or not (folder / "tokenizer_config.json").is_file():
        return None
    return frozenset({*added_tokens(folder), *special.values(), *(settings.get("tokens") or ())})


class _Generation(Extension):
    """Takes `{% generation %}` blocks, with which templates mark answers, as the text they hold."""

    tags = {"generation"}  # noqa: RUF012  (as jinja2 declares it)

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    # Which day it is says nothing of how a turn ends.
    made.globals["strftime_now"] = lambda pattern: pattern
    return made
