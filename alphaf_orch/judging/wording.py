"""What the judge reads: templates filled with questions and answers that cannot pass for anything else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import jinja2

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import find_template
from alphaf_orch.core.render import template_text
from alphaf_orch.core.values_template import TemplateError, UnknownVariableError, fill
from alphaf_orch.judging.prompts import Prompt

NONE = "(없음)"
# Written inside an answer, a server's tokenizer would read these as the end of the answer or as a turn of its own.
_CONTROL = re.compile(
    r"<(?=[|｜][^<>]{1,60}[|｜]>|/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|im_start|im_end)>)"
    r"|<(?=/?(?:think|thinking|thought|reasoning)>)"
    r"|\[(?=/?(?:INST|THINK)\])|<(?=</?SYS>>)"
)


def shown(text: object) -> str:
    """Return the text as the judge may see it: no control tokens of chat formats, nothing that UTF-8 cannot hold."""
    if isinstance(text, jinja2.Undefined):
        str(text)  # raises the UndefinedError that names the variable
    clean = str(text).encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub(lambda found: found.group() + " ", clean)


class JudgePrompts:
    """The prompts of one template family: `NAME-one-turn.j2`, `-two-turns`, `-vote` and `-reminder`."""

    def __init__(self, name: str, folders: tuple[Path, ...]) -> None:
        self._name, self._folders = name, folders

    def pair(self, prompt: Prompt, first: tuple[str, ...], second: tuple[str, ...]) -> str:
        """Return the question with two models' answers, the first of them shown as A."""
        values = {"system": prompt.system or NONE, "reference": prompt.reference or NONE}
        texts = {"question": prompt.turns, "answer_a": first, "answer_b": second}
        if len(prompt.turns) == 1:
            return self._fill("one-turn", values | {name: turns[0] for name, turns in texts.items()})
        numbered = {f"{name}_{n}": text for name, turns in texts.items() for n, text in enumerate(turns, 1)}
        return self._fill("two-turns", values | numbered)

    def vote(self, question: str, gold: str, answer: str) -> str:
        """Return the question with its gold answer and the answer to be voted on."""
        return self._fill("vote", {"question": question, "gold": gold, "answer": answer})

    @cached_property
    def reminder(self) -> str:
        """What is put after a prompt whose reply held no verdict."""
        return self._fill("reminder", {})

    def identity(self, *kinds: str) -> str:
        """Return what stands for the wording of these kinds of prompt: equal as long as the templates are."""
        texts = [self._template(kind)[1] for kind in (*kinds, "reminder")]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

    def _template(self, kind: str) -> tuple[Path, str]:
        file = find_template(self._folders, f"judge/{self._name}-{kind}.j2")
        return file, template_text(file)

    def _fill(self, kind: str, values: Mapping[str, str]) -> str:
        # The mark depends on every text it stands between: no answer can know it and close its own block.
        mark = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        file, text = self._template(kind)
        try:
            return fill(text, (("shown", shown),), {**values, "boundary": mark}, keep_end=False)
        except UnknownVariableError as error:
            raise ConfigError(
                f"the judge's template asks for a variable that does not exist: {error.problem}",
                where=str(file),
                fix=f"use one of: {', '.join(sorted([*values, 'boundary']))}",
                code="config.template_variable",
            ) from None
        except TemplateError as error:
            raise ConfigError(
                f"the judge's template cannot be read: {error.problem}",
                where=f"{file} line {error.line}" if error.line else str(file),
                fix="templates hold `{{ name | shown }}` only",
                code="config.template_invalid",
            ) from None
