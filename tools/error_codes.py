"""Write docs/error-codes.md, every identifier of an error with the messages that have it; --check only compares.

An identifier stands where its error is made, as `code="DOMAIN.WHAT"`; the domain belongs to the error's class.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

from messages import template

from alphaf_orch.core import errors
from alphaf_orch.core.errors import AlphafError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alphaf_orch"
PAGE = ROOT / "docs" / "error-codes.md"
CLASSES: dict[str, type[AlphafError]] = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, AlphafError)
}
DOMAINS: dict[str, type[AlphafError]] = {}
for each in CLASSES.values():
    DOMAINS.setdefault(each.domain, each)
# A class that a caller chooses: each of its domains has the identifier then.
_ANY = "*"
_CODE = re.compile(rf"(?:{'|'.join(DOMAINS)}|\{_ANY})\.[a-z0-9_]+")
_NAMES = ("code", "kind", "_CODES", "SEVERAL_CODE")
# Where the message comes from elsewhere: what it says.
_SAYS = {
    "config.does_not_fit": "a model trained whole does not fit the memory of the cards",
    "config.engine_refuses": "the engine does not go with a setting of the recipe (docs/engines.md)",
    "config.folder_taken": "the folder holds files of something else",
    "config.path_unusable": "a path that is too long, or leads in a circle",
    "config.port_unusable": "the port is in use, or may not be taken",
    "config.tokenizers_differ": "the tokenizers of a merge cannot be made one",
    "data.line_too_long": "the line is longer than any row",
    "*.several_mistakes": "several mistakes of one file or command, each with its line",
    "data.several_mistakes": "rows with mistakes of several kinds, listed by kind and line",
    "data.nothing_came": "nothing came through a pipe",
    "data.poor_quality": "a share of the rows is damaged text (docs/data.md)",
    "model.unknown_name": "no model has that name",
    "model.unknown_template": "axolotl knows no chat template of that name",
    "*.several_mistakes": "several mistakes told in one go, each with its place",
    "disk.broken": "the disk failed (input/output error)",
    "disk.file_too_large": "a file became larger than the disk, or `ulimit -f`, allows",
    "disk.full": "the disk is full",
    "disk.not_permitted": "permission denied",
    "disk.quota_used_up": "your quota on the disk is used up",
    "disk.read_only": "the disk is read-only",
    "stage.not_a_hub_id": "what was named is no id of the hub",
    "stage.program_failed": "a program ended with an error that is none of ours: its last words, or their cause",
    "stage.results_wrong": "what lm-eval wrote is not what it was asked",
    "tool.build_unfit": "packages that come as source, built here, do not run on the target",
    "tool.notify_failed": "a message did not arrive",
}
_HEAD = """# Identifiers of errors

Every error has one, on its fourth line (`  code:  config.unknown_key`), in `--json` and in the records of runs. What it
promises stands in [errors](errors.md#identifiers). This page is made by `tools/error_codes.py` from the places in the
sources: {count} identifiers, each with the messages that have it (`{{name}}` is a value) and the modules that they come
from. `*.WHAT` is one in several domains: that of the file it is about.
"""


class Site(NamedTuple):
    """One place at which an error is made: its identifier, its messages where they stand there, and its module."""

    code: str
    messages: tuple[str, ...]
    module: str


def sites() -> list[Site]:
    """Return every place of the package that names an identifier."""
    return [site for path in sorted(PACKAGE.rglob("*.py")) for site in _sites(path)]


def _sites(path: Path) -> Iterator[Site]:
    module = str(path.relative_to(PACKAGE))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for code in _codes(node):
            if _CODE.fullmatch(code):
                yield Site(code, _messages(node, tree), module)


def _codes(node: ast.AST) -> Iterator[str]:
    """Yield the identifiers that a call, an assignment or a row of a table names."""
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg in _NAMES:
                yield from _texts(keyword.value)
        if node.args and ast.unparse(node.func) == "Refusal":
            yield from _texts(node.args[-1])
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in _NAMES:
        yield from _texts(node.value)
    elif isinstance(node, ast.Tuple) and len(node.elts) > 2:
        yield from (text for text in _texts(node.elts[-1]) if not text.startswith(_ANY))


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):  # f"{error.domain}.unreadable"
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else _ANY for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from (*_texts(node.body), *_texts(node.orelse))
    elif isinstance(node, ast.BoolOp | ast.Dict):
        yield from (text for value in node.values for text in _texts(value))


def _messages(node: ast.AST, tree: ast.Module) -> tuple[str, ...]:
    """Return the templates of the message that a call is made with, none where they do not stand there."""
    arguments = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
    for argument in arguments:
        found = _assigned(argument, tree) if isinstance(argument, ast.Name) else argument
        either = [found.body, found.orelse] if isinstance(found, ast.IfExp) else [found]
        texts = [template(each) for each in either if _is_text(each)]
        if any(" " in text for text in texts):
            return tuple(texts)
    return ()


def _is_text(node: ast.expr | None) -> TypeGuard[ast.JoinedStr | ast.Constant]:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _assigned(name: ast.Name, tree: ast.Module) -> ast.expr | None:
    """Return the last value that a name was given above the place where it is used, in the same function."""
    around = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.lineno <= name.lineno <= _end(f)]
    scope = max(around, key=lambda f: f.lineno, default=None)
    given = [
        each.value
        for each in ast.walk(scope or tree)
        if isinstance(each, ast.Assign)
        and each.lineno < name.lineno
        and any(isinstance(target, ast.Name) and target.id == name.id for target in each.targets)
    ]
    return given[-1] if given else None


def _end(node: ast.FunctionDef) -> int:
    return node.end_lineno or node.lineno


def page() -> str:
    """Return the page."""
    found: dict[str, list[Site]] = defaultdict(list)
    for site in sites():
        found[site.code].append(site)
    lines = [_HEAD.format(count=len(found))]
    for domain, kind in [(_ANY, None), *sorted(DOMAINS.items(), key=lambda item: item[1].exit_code)]:
        codes = sorted(code for code in found if code.partition(".")[0] == domain)
        if codes:
            lines += ["", f"## {_title(domain, kind)}", "", "| Identifier | Messages | Modules |", "|---|---|---|"]
            lines += [_row(code, found[code]) for code in codes]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _title(domain: str, kind: type[AlphafError] | None) -> str:
    if kind is None:
        return "Of any file"
    return f"{domain}: exit code {kind.exit_code}" if kind is not AlphafError else f"{domain}: its own defects"


def _row(code: str, found: list[Site]) -> str:
    messages = dict.fromkeys(text.splitlines()[0] for site in found for text in site.messages)
    shown = "<br>".join(f"`{_in_cell(message)}`" for message in messages)
    modules = ", ".join(f"`{module.removesuffix('.py')}`" for module in dict.fromkeys(site.module for site in found))
    return f"| `{code}` | {shown or _SAYS.get(code, 'the words of its cause')} | {modules} |"


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").strip()


def main() -> None:
    """Write the page, or end with an error where --check finds another one."""
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE.relative_to(ROOT)} is not up to date: run `make messages`")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
