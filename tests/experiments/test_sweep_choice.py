"""The best candidate of a sweep: which way a metric counts, and when a difference cannot be tested."""

from __future__ import annotations

import pytest

from alphaf_orch.experiments.sweep.choice import choose
from alphaf_orch.report.sweep import explained
from alphaf_orch.scores.loaded import Scored
from alphaf_orch.scores.results import Metric, TaskResult

ROWS = range(60)
MANY, FEW = ({str(i): float(i % 10 != 0) for i in ROWS}, {str(i): float(i % 10 == 0) for i in ROWS})


def scored(values: dict[str, float], *, higher: bool | None = True, value: float | None = None, repeated: int = 0):
    metric = Metric(sum(values.values()) / len(values) if value is None else value, None, len(values), higher)
    result = TaskResult("t", "s", "m", "k", {}, {}, {}, {"acc": metric}, len(values), 1.0, "", {})
    return {"t": Scored(result, {"acc": values}, dict.fromkeys(values, ("A", "A")), {}, repeated)}


def test_where_lower_is_better_the_lower_one_is_chosen_and_called_better():
    choice = choose({"low": scored(FEW, higher=False)}, {"dpo": scored(MANY, higher=False)})
    assert choice.of("low").overall == pytest.approx(0.9)
    difference = choice.of("low").against["dpo"]
    assert difference.estimate == pytest.approx(0.8)
    assert difference.verdict == "better"


@pytest.mark.parametrize(
    "other",
    [
        scored(FEW, value=0.7),
        scored({**FEW, "60": 1.0}),
        scored({f"x{name}": value for name, value in FEW.items()}),
        scored(FEW, repeated=1),
        {},
    ],
    ids=["other-figure-than-its-rows", "one-row-more", "other-rows", "a-row-twice", "no-such-task"],
)
def test_what_cannot_be_paired_row_by_row_is_not_tested(other):
    choice = choose({"good": scored(MANY)}, {"dpo": other or {"other": scored(FEW)["t"]}})
    assert choice.of("good").against == {}
    assert "not tested: no values by row" in explained(choice)[-1]


def test_a_metric_without_a_direction_counts_as_it_is():
    choice = choose({"good": scored(MANY, higher=None)}, {"dpo": scored(FEW, higher=None)})
    assert choice.of("good").against["dpo"].verdict == "better"
