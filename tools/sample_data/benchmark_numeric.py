"""The rows of the numeric benchmark: four questions of every kind on small tables, each answer computed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sample_data.benchmark_business import BUSINESS
from sample_data.benchmark_item import Item
from sample_data.benchmark_rates import RATES
from sample_data.benchmark_securities import SECURITIES
from sample_data.benchmark_statements import STATEMENTS

KINDS: tuple[Callable[[Random], Item], ...] = (*STATEMENTS, *BUSINESS, *SECURITIES, *RATES)
ROUNDS = 4


def numeric_rows() -> list[dict[str, object]]:
    """Return the rows in order of their ids; no question occurs twice and no value lies on a rounding edge."""
    rows: list[dict[str, object]] = []
    asked: set[tuple[str, str]] = set()
    for turn in range(ROUNDS):
        for kind in KINDS:
            rng = Random(f"benchmark/numeric/{kind.__name__}/{turn}")
            item = kind(rng)
            while item.doubtful or (item.table, item.question) in asked:
                item = kind(rng)
            asked.add((item.table, item.question))
            rows.append(item.row(f"num-{len(rows) + 1:03}"))
    return rows
