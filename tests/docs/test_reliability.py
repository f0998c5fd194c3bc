"""The matrix of docs/reliability.md: every line names a test that is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
FEWEST = 40
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def lines() -> list[list[str]]:
    """Return the cells of every line of a table that names a test."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and _TEST.search(line):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@cache
def names(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_matrix_has_a_fault_a_stage_what_happens_and_a_test_in_each_line():
    table = lines()
    assert len(table) >= FEWEST
    assert all(len(cells) == 4 and all(cells) for cells in table)
    faults = [(fault, stage) for fault, stage, _, _ in table]
    assert len(set(faults)) == len(faults)


def test_each_line_of_the_matrix_names_tests_that_are_there():
    for cells in lines():
        for path, name in _TEST.findall(cells[3]):
            assert name in names(path), f"{path}::{name}"
