"""Templates of recipes and judges: they hold values and no program, whoever wrote them.

Jinja reads them in its sandbox, and of its language only what puts a value in its place: no loop, no call, no
multiplication, nothing of another file. So a template from elsewhere runs nothing, and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

_TAKEN = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Filter, nodes.Const, nodes.Getattr,
    nodes.Getitem, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.Not, nodes.And, nodes.Or, nodes.Test,
    nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Neg,
)  # fmt: skip
# Of jinja's own filters those whose work and answer are as small as their value.
_PLAIN = ("default", "d", "trim", "lower", "upper", "int", "float", "tojson", "length")
# What a filter or a comparison may raise on a value that it is not made for.
_UNFIT = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
Filters = tuple[tuple[str, Callable[[Any], str]], ...]


class TemplateError(Exception):
    """A template that cannot be read or filled: why, and the line where that is known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


class UnknownVariableError(TemplateError):
    """A template that asks for a variable that does not exist."""


@cache
def _compiled(text: str, filters: Filters, *, keep_end: bool) -> jinja2.Template:
    """Return a template, compiled once in a process: a recipe is rendered several times, and compiling takes longer."""
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=keep_end)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in _PLAIN} | dict(filters)
    try:
        for node in _every(environment.parse(text)):
            if not isinstance(node, _TAKEN):
                raise TemplateError(f"it holds a program ({type(node).__name__}), not values alone", node.lineno)
        return environment.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(str(error.message), error.lineno) from None
    except (RecursionError, MemoryError):
        raise TemplateError("it nests too deep") from None
    except (SyntaxError, ValueError) as error:  # of the python that jinja makes of it: a number of 5,000 digits
        raise TemplateError(str(error)) from None


def _every(node: nodes.Node) -> list[nodes.Node]:
    """Return a node with all below it."""
    found, open_ = [node], [node]
    while open_:
        below = list(open_.pop().iter_child_nodes())
        found += below
        open_ += below
    return found


def fill(text: str, filters: Filters, values: Mapping[str, Any], *, keep_end: bool = True) -> str:
    """Return the template with the values in it.

    Raises UnknownVariableError for a variable that does not exist, and TemplateError for a text that is no such
    template, or for a value that a filter does not take.
    """
    template = _compiled(text, filters, keep_end=keep_end)
    try:
        return template.render(values)
    except jinja2.UndefinedError as error:
        raise UnknownVariableError(str(error.message)) from None
    except (jinja2.TemplateError, *_UNFIT) as error:
        raise TemplateError(str(error)) from None
