"""Bring the catalogues of Korean texts up to date with the messages of the sources; --check only compares.

A message is written in English where it comes up, as a literal or an f-string. Its template, `{name}` for each value,
is the key in `alphaf_orch/locale/ko/PACKAGE.json`; the Korean text stands beside it, "" where it is lacking and null
where nobody is shown the text. What click marks for translation is `click.json`, what pydantic and json say of a value
is `libraries.json`.
"""

from __future__ import annotations

import ast
import inspect
import json
import json.decoder
import re
import string
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic_core._pydantic_core import list_all_errors

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alphaf_orch"
CATALOGUES = PACKAGE / "locale" / "ko"
_WORD = re.compile(r"(?<![\w{])[A-Za-z][a-z']+(?![\w}])")
_PATTERN = re.compile(
    r"\\[wbdsS.(]|\(\?|\.\*|\w\|\w|\[\w-\]|#include|\$\("
)  # a regular expression, or a program's text
_SMALL = frozenset(("of", "and", "in", "on", "is", "an", "the", "by", "to", "or", "with", "at", "from", "for", "was"))
_CODE = re.compile(r"[a-z]+\.\w+")  # an error's identifier
_ARTICLE = re.compile(r"an? [a-z]+")
# What is called with texts that nobody reads, patterns, paths and keys, or that have both languages already.
# fmt: off
_NOT_READ = frozenset((
    "Label", "add_argument", "compile", "find_template", "rendered", "with_name", "with_suffix", "glob", "rglob",
    "Path", "search", "sub", "match", "fullmatch", "findall", "split", "getattr", "get", "setdefault", "startswith",
    "endswith", "removeprefix", "removesuffix", "mkdtemp", "mkstemp", "strftime", "resolve_name", "Thread", "encode",
    "Field", "open", "slug", "href", "bind", "connect", "index", "count", "replace", "partition", "rpartition",
))
# fmt: on
# What libyaml says of the mistakes that people make; its source is not python.
_YAML = (
    "mapping values are not allowed in this context",
    "block sequence entries are not allowed in this context",
    "did not find expected key",
    "did not find expected node content",
    "did not find expected '-' indicator",
    "did not find expected ',' or ']'",
    "did not find expected ',' or '}'",
    "could not find expected ':'",
    "found character that cannot start any token",
    "found unexpected end of stream",
    "found undefined alias",
    "but found another document",
)
# Single words of states and columns, which no template tells from a name.
_WORDS = (
    *("new", "cached", "resume", "changed", "damaged", "done", "failed", "interrupted", "not started", "under way"),
    *("queued", "running", "requeued", "cancelled", "unknown", "ready", "build", "missing", "incomplete", "ok", "warn"),
    *(
        "fail",
        "skip",
        "DAMAGED",
        "whole",
        "stage",
        "stages",
        "state",
        "rows",
        "steps",
        "step",
        "tokens",
        "time",
        "loss",
    ),
    *("memory", "why", "arm", "arms", "variant", "seed", "seeds", "run", "base", "started", "model", "size", "licence"),
    *(
        "context",
        "template",
        "weights",
        "suite",
        "suites",
        "task",
        "score",
        "candidate",
        "place",
        "total",
        "sum",
    ),
    *("peak", "overall", "prompts", "wins", "ties", "losses", "all", "files", "sweep", "built", "experiment", "fits"),
    # An amount with its unit, and with what it may be or what there is of it.
    *("{number} s", "{number} min", "{number} h", "{number} days", "{amount} ({low} to {high})", "{amount} of {room}"),
    *("{amount} of {room}, does NOT fit", "{amount} ({low} to {high}) of {room}"),
    # Progress of a training, and what a run leaves behind.
    *("margin {number}", "accuracy {number}", "ETA {clock}", "kind", "checkpoint", "scratch", "tight"),
    *("skipped", "here", "gradients", "optimizer", "adapter", "activations", "buffers"),
    *("entries", "integer range", "float range", "integer", "float", "number", "required"),
    *(
        "{count} GPUs",
        "{number} x {count} GPUs",
        "{number} GPUs of {room}",
        "no runs",
        "one GPU",
        "the process",
        "working",
        "begun",
        "unread",
    ),
    *("{count} working", "{count} queued", "{count} failed", "{count} interrupted", "{count} damaged", "{count} done"),
    *("none", "nothing", "no", "yes", "warning", "note", "error", "next", "lacks", "name", "what", "cache", "in all"),
)
_SHOWN = frozenset({"spoken", "RowError"})  # whose literals are messages whatever their length
_NO_MESSAGES = ("locale", "schemas", "programs/models", "programs/warm", "programs/architectures", "report")


def template(node: ast.JoinedStr | ast.Constant) -> str:
    """Return the template of a literal or an f-string: its text with `{name}` for each value, braces doubled.

    A literal with names in braces is a template already, which `str.format` fills.
    """
    if isinstance(node, ast.Constant):
        return _of_literal(str(node.value))
    names: dict[str, str] = {}
    parts = []
    for value in node.values:
        if isinstance(value, ast.Constant):
            first, *later = map(_escaped, str(value.value).split("{}"))  # each `{}` is filled later, by `str.format`
            parts += [first, *(each for n, text in enumerate(later, 1) for each in (f"{{value{n}}}", text))]
        elif isinstance(value, ast.FormattedValue):
            parts.append("{" + _named(value.value, names) + "}")
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _of_literal(text: str) -> str:
    """Return the template of a literal; names in braces, or none (`{}`), are values that `str.format` fills."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return _escaped(text)
    fields = [field for _, field, _, _ in parts if field is not None]
    if not fields or not all(field == "" or field.isidentifier() for field in fields):
        return _escaped(text)
    numbers = iter(range(1, len(fields) + 1))
    named = [field or f"value{next(numbers)}" for field in fields]
    return "".join(
        _escaped(literal) + ("{" + named.pop(0) + "}" if field is not None else "") for literal, field, _, _ in parts
    )


def _named(value: ast.expr, names: dict[str, str]) -> str:
    """Return what a value is called in the template; the same value twice has one name."""
    said = ast.unparse(value)
    wanted = _name(value)
    found, number = wanted, 1
    while names.setdefault(found, said) != said:
        number += 1
        found = f"{wanted}{number}"
    return found


def _name(value: ast.expr) -> str:
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").lower() or "value"
        case ast.Subscript(value=_, slice=ast.Constant(value=str() as key)) if key.isidentifier():
            return key
        case ast.Subscript(value=inner) | ast.Await(value=inner) | ast.UnaryOp(operand=inner):
            return _name(inner)
        case ast.Call(func=ast.Name(id="len"), args=[_]):
            return "count"
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join")):
            return "names"
        case ast.Call(func=ast.Name(id=name)):
            return name.strip("_")
        case ast.Call(func=ast.Attribute(value=inner)):
            return _name(inner)
        case ast.IfExp(body=ast.Constant(value="s")) | ast.IfExp(orelse=ast.Constant(value="s")):
            return "s"
        case ast.IfExp(body=body, orelse=orelse):
            return _name(body) if not isinstance(body, ast.Constant) else _name(orelse)
        case _:
            return "value"


def is_message(text: str) -> bool:
    """Return whether a template reads as words of a language: two of them, or one with a value or an article."""
    if _PATTERN.search(text):
        return False
    plain = re.sub(r"\{\w+\}", " ", text)
    words = _WORD.findall(plain)
    # Values with nothing between them but "of" or "and" are found in anybody's sentence.
    said = len(words) + (plain != text) + bool(_ARTICLE.fullmatch(text)) if set(words) - _SMALL else 0
    return " " in text.strip() and said >= 2


class _Messages(ast.NodeVisitor):
    """Gathers the messages of one module, in their order."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self._shown = False

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        made = (each.func for each in node.decorator_list if isinstance(each, ast.Call))
        if any(getattr(each, "id", getattr(each, "attr", "")) in {"command", "group"} for each in made):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):  # its help
                self.found[_escaped(" ".join(paragraph.split()))] = None
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if isinstance(node.func, ast.Attribute):
            self.visit(node.func)
        arguments = [*node.args, *(each.value for each in node.keywords if each.arg != "code")]
        before, self._shown = self._shown, name in _SHOWN
        for argument in arguments:
            if name not in _NOT_READ or not isinstance(argument, ast.JoinedStr | ast.Constant):
                self.visit(argument)
        self._shown = before

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if not isinstance(node.slice, ast.Constant | ast.JoinedStr):
            self.visit(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        for each in [node.left, *node.comparators]:
            if not isinstance(each, ast.Constant):
                self.visit(each)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._add(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._add(node)
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                self.visit(value.value)

    def _add(self, node: ast.JoinedStr | ast.Constant) -> None:
        text = template(node)
        for line in text.split("\n"):
            line = line.strip()
            if is_message(line) or (self._shown and _WORD.search(line) and not _CODE.fullmatch(line)):
                self.found[line] = None


def of_module(path: Path) -> list[str]:
    """Return the templates of one module's messages, in their order."""
    messages = _Messages()
    messages.visit(ast.parse(path.read_text(encoding="utf-8")))
    return list(messages.found)


def of_click() -> list[str]:
    """Return the templates of what click says, which it marks for translation."""
    spec = find_spec("click")
    assert spec and spec.submodule_search_locations
    found: dict[str, None] = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"_", "ngettext"}:
                found |= dict.fromkeys(filter(None, map(_click_text, node.args)))
    return list(found)


def _click_text(node: ast.expr) -> str | None:
    text = node.value if isinstance(node, ast.Constant) else None
    # Of a value as python writes it the quotes are a part of the value.
    return re.sub(r"!r\}", "}", text).strip() if isinstance(text, str) and "%(" not in text else None


def of_libraries() -> list[str]:
    """Return the templates of what pydantic, json and yaml say of a value or a text, behind messages of ours."""
    said = [each["message_template_python"] for each in list_all_errors()]
    calls = (node for node in ast.walk(ast.parse(inspect.getsource(json.decoder))) if isinstance(node, ast.Call))
    named = (node.args[0] for node in calls if getattr(node.func, "id", "") == "JSONDecodeError")
    return [*said, *(str(node.value) for node in named if isinstance(node, ast.Constant)), *map(_escaped, _YAML)]


def of_sources() -> dict[str, list[str]]:
    """Return the templates of all messages by catalogue; one that several packages have is the first one's."""
    catalogues: dict[str, list[str]] = {"words": list(_WORDS), "click": of_click(), "libraries": of_libraries()}
    seen = {text for found in catalogues.values() for text in found}
    for package in sorted(each for each in PACKAGE.iterdir() if each.is_dir() and each.name != "__pycache__"):
        found: list[str] = []
        for path in sorted(package.rglob("*.py")):
            if not path.relative_to(PACKAGE).as_posix().startswith(_NO_MESSAGES) or package.name == "report":
                found += [text for text in of_module(path) if text not in seen]
                seen.update(found)
        if found:
            catalogues[package.name] = found
    return catalogues


def read(path: Path) -> dict[str, str | None]:
    """Return a catalogue as it is stored; empty where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def brought_up(templates: list[str], known: dict[str, str | None]) -> dict[str, str | None]:
    """Return a catalogue with exactly these templates, each with what is known of it."""
    return {text: known.get(text, "") for text in sorted(set(templates))}


def lacking(catalogue: dict[str, str | None]) -> Iterator[str]:
    """Yield what lacks its Korean text, or has a value in it that the English text has not."""
    for english, korean in catalogue.items():
        if korean is not None and not korean.strip():
            yield f"{english!r} has no Korean text"
        elif korean is not None:
            try:
                strange = _values(korean) - _values(english)
            except ValueError as error:
                yield f"{english!r}: a template cannot be read: {error}"
            else:
                yield from (f"{english!r}: {{{name}}} is no value of it" for name in sorted(strange))


def _values(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def main() -> int:
    """Write the catalogues; with --check return 1 where one is not what the sources say or a text is lacking."""
    stored = {path.stem: read(path) for path in sorted(CATALOGUES.glob("*.json"))}
    known: dict[str, str | None] = {}
    for each in stored.values():  # a message that moved to another package keeps its text
        known |= {text: korean for text, korean in each.items() if korean != ""}
    wanted = {name: brought_up(found, known) for name, found in of_sources().items()}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in wanted | stored if wanted.get(name) != stored.get(name))
        said = [f"{name}.json is not up to date; run `make messages`" for name in stale]
        said += [f"{name}: {why}" for name, each in wanted.items() for why in lacking(each)]
        print("\n".join(said), file=sys.stderr)
        return int(bool(said))
    CATALOGUES.mkdir(parents=True, exist_ok=True)
    for name in stored.keys() - wanted.keys():
        (CATALOGUES / f"{name}.json").unlink()
    for name, made in wanted.items():
        write(CATALOGUES / f"{name}.json", made)
    without = sum(len(list(lacking(each))) for each in wanted.values())
    print(f"{sum(map(len, wanted.values())):,} texts, {without:,} lacking")
    return 0


def write(path: Path, catalogue: dict[str, Any]) -> None:
    """Write a catalogue, a line an entry."""
    path.write_text(json.dumps(catalogue, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
