"""What a command prints with --json: one value when it ends, an answer, an error, or an answer with its error.

What else the command prints on standard output goes to standard errors then, so that nothing stands beside the value.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import click

from alphaf_orch.core.called import as_called
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.masking import mask_values
from alphaf_orch.core.streams import Unseen, unkept, viewer_gone

VERSION = 1  # of every answer; docs/json.md says what another number would mean
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class _Held:
    """What is to be printed once the command has ended."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self.quiet = False
        self.out = sys.stdout


_held: _Held | None = None


def asked(words: list[str]) -> bool:
    """Return whether a command line asks for JSON: also of one that is no command line at all."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options and not {"--help", "-h", "--version"} & set(options)


def answer(name: str, value: Mapping[str, Any], *, now: bool = False) -> None:
    """Have a value printed once the command has ended, in place of an earlier one; `now` where it goes on."""
    whole = {"schema": schema_of(name), **value}
    if _held and not now:
        _held.value = whole
    else:
        _print(whole)


def schema_of(name: str) -> str:
    """Return the name of an answer's schema with its version."""
    return f"alphaf/{name}/{VERSION}"


def told(call: Callable[[], Any]) -> NoReturn:
    """Call a command, print its answer or its error as JSON and exit as it would have."""
    global _held
    _held = held = _Held()
    code: object
    try:
        code = call()
    except click.exceptions.Abort:
        code = 1
        failed(
            "Interrupted",
            "interrupt.stopped",
            1,
            "alphaf was interrupted",
            "the command line",
            "the same command again",
        )
    except click.ClickException as error:
        code = error.exit_code
        _failed(error)
        if not held.quiet:
            error.show()
    except SystemExit as end:
        code = end.code
    if held.value and not viewer_gone():
        _print(held.value)
    _held = None
    sys.exit(code if isinstance(code, int | None) else 1)


def failed(kind: str, code: str, exit_code: int, what: str, where: str, fix: str) -> None:
    """Have an error printed: in the answer where there is one, else in its place."""
    told = {"code": code, "exit_code": exit_code, "kind": kind, "what": what, "where": where, "next": fix}
    if _held:
        _held.value = {**(_held.value or {"schema": schema_of("error")}), "error": told}


def defect(what: str, where: str, fix: str, exit_code: int) -> None:
    """Print that alphaf itself failed, where JSON was asked for; whoever calls ends the process."""
    if _held:
        failed("Defect", "alphaf.defect", exit_code, what, where, fix)
        _print(_held.value)


def _failed(error: click.ClickException) -> None:
    kind = type(error).__name__
    if isinstance(error, AlphafError):
        failed(kind, error.code, error.exit_code, error.what, error.where, as_called(error.fix))
        return
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "alphaf"
    code = f"usage.{_snake(kind)}" if kind != "UsageError" else "usage.wrong"
    failed(kind, code, error.exit_code, error.format_message(), where, f"{where} --help says what it takes")


def _snake(name: str) -> str:
    return _CAPITAL.sub("_", name).lower().removesuffix("_error")


def _print(value: Mapping[str, Any]) -> None:
    with unkept():  # the run's own log is for people
        out = _held.out if _held else sys.stdout
        click.echo(json.dumps(_finite(mask_values(value)), indent=1, ensure_ascii=False), file=out)
        out.flush()


def _finite(value: Any) -> Any:
    """Return the value with null for what is no number: a loss may be NaN, which no JSON is."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


@contextlib.contextmanager
def around(*, as_json: bool, quiet: bool) -> Iterator[None]:
    """Keep standard output for the value while a command works, and with `quiet` standard errors for its error."""
    with contextlib.ExitStack() as stack:
        if quiet:
            stack.enter_context(contextlib.redirect_stderr(Unseen()))
        if as_json and _held:
            _held.quiet = quiet
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield
