"""Identifiers of errors: every error has one, of its class's domain, and docs/error-codes.md lists them all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from error_codes import CLASSES, DOMAINS, PAGE, page, sites

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.programs import common

PACKAGE = Path(__file__).resolve().parents[2] / "alphaf_orch"
_LITERAL = re.compile(r"[a-z]+\.[a-z][a-z0-9_]*")
# A child program's exit code is that of the error which its parent makes of it; 1 is a stage's that failed.
ENDS = {
    "CONFIG": "config", "DATA": "data", "MODEL": "model", "RUN_STATE": "run", "STAGE": "stage",
    "CONTRACT": "contract", "TOOL": "tool", "FAILED": "stage", "code": "interrupt",
}  # fmt: skip


def _calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Yield every call that makes an error: its place, itself and the domain that its identifier must be of."""
    domains = {name: kind.domain for name, kind in CLASSES.items() if kind is not AlphafError}
    domains |= {"RowError": "data", "NotRows": "data", "Unreadable": "run"}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or path.name == "checksums.py":  # its Unreadable is none of these
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            if name == "Failure":
                yield place, node, ENDS[ast.unparse(node.args[0])]
            elif name in domains:
                yield place, node, domains[name]


def test_every_error_is_made_with_an_identifier_of_its_class() -> None:
    calls = list(_calls())
    assert len(calls) > 600
    codes = {place: [word.value for word in call.keywords if word.arg in ("code", None)] for place, call, _ in calls}
    assert [place for place, values in codes.items() if not values] == []
    wrong = [
        (place, value.value)
        for place, call, domain in calls
        for value in codes[place]
        if isinstance(value, ast.Constant)
        and not (_LITERAL.fullmatch(str(value.value)) and str(value.value).startswith(f"{domain}."))
    ]
    assert wrong == []


def test_a_child_program_ends_with_the_exit_code_of_its_identifier() -> None:
    ends = {name: getattr(common, name) for name in ENDS if hasattr(common, name)}
    assert {name: DOMAINS[ENDS[name]].exit_code for name in ends} == {**ends, "FAILED": DOMAINS["stage"].exit_code}


def test_domains_are_of_one_class_each_with_those_made_of_it() -> None:
    for kind in CLASSES.values():
        assert issubclass(kind, DOMAINS[kind.domain]), kind
        assert kind.domain == DOMAINS[kind.domain].domain


def test_identifiers_say_the_kind_shortly() -> None:
    codes = {site.code for site in sites()}
    assert len(codes) > 200
    assert [code for code in codes if len(code) > 32] == []


def test_the_page_lists_them_all() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make messages`"


@pytest.mark.parametrize("page_", ["errors.md"])
def test_identifiers_that_pages_name_exist(page_: str) -> None:
    text = (PAGE.parent / page_).read_text(encoding="utf-8")
    codes = {site.code for site in sites()}
    named = {code for code in re.findall(rf"`((?:{'|'.join(DOMAINS)})\.[a-z_]+)`", text) if not code.endswith(".md")}
    assert named and named <= codes
