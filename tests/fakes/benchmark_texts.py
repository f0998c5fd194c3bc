"""Reads the benchmark rows and the training texts as the tests of both compare them."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from fractions import Fraction
from typing import Any

from alphaf_orch.inputs.samples import FILES, sample_path

RUN = 30


def bare(text: str) -> str:
    """Return the text without space, digits and letter case, as two wordings of one sentence are compared."""
    return re.sub(r"[\s\d]", "", unicodedata.normalize("NFKC", text).casefold())


def training_texts() -> list[str]:
    """Return the bare text of every turn of every training and held-out sample."""
    rows = [json.loads(line) for name in FILES for line in sample_path(name).read_text(encoding="utf-8").splitlines()]
    sides = [row[key] for row in rows for key in ("messages", "chosen", "rejected") if key in row]
    return [bare(turn["content"]) for side in sides for turn in side]


def runs(text: str) -> set[str]:
    """Return every run of RUN letters, or the whole of a shorter text."""
    return {text[index : index + RUN] for index in range(max(1, len(text) - RUN + 1))}


def share(rows: list[dict[str, Any]], best: Any) -> float:
    """Return the share of rows that one gets right by taking the option of the best length, ties drawn by lot."""
    points = Fraction(0)
    for row in rows:
        lengths = [len(option) for option in row["choices"]]
        if lengths[row["answer"]] == best(lengths):
            points += Fraction(1, lengths.count(best(lengths)))
    return float(points / len(rows))


AMOUNT = re.compile(r"(?=\d)(?:[\d,]+조 ?)?(?:[\d,]+억 ?)?(?:[\d,]+만 ?)?(?:[\d,]+)?원")

NUMBER = re.compile(r"[−+-]?\d[\d,]*(?:\.\d+)?")

UNITS = {"조": 10**12, "억": 10**8, "만": 10**4, "원": 1}


def shown(option: str) -> tuple[Fraction | None, str]:
    """Return the number that an option shows, amounts in won, and the option without it."""
    if (amount := AMOUNT.search(option)) is not None:
        parts = re.findall(r"([\d,]+)(조|억|만|원)", amount.group())
        return Fraction(sum(int(n.replace(",", "")) * UNITS[u] for n, u in parts)), AMOUNT.sub("", option, count=1)
    if (number := NUMBER.search(option)) is None:
        return None, option
    return Fraction(number.group().replace("−", "-").replace(",", "")), NUMBER.sub("", option, count=1)


class Exact(ast.NodeTransformer):
    """Turn every number of an expression into a fraction of what is written, so that 0.1 is a tenth."""

    def visit_Constant(self, node: ast.Constant) -> ast.Call:
        return ast.Call(ast.Name("Fraction", ast.Load()), [ast.Constant(ast.unparse(node))], [])


def compute(expression: str) -> Fraction:
    tree = ast.fix_missing_locations(Exact().visit(ast.parse(expression, mode="eval")))
    value = eval(compile(tree, expression, "eval"), {"Fraction": Fraction})
    return value if isinstance(value, Fraction) else Fraction(round(value, 9)).limit_denominator(10**9)
