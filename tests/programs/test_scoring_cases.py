"""Answers as models write them: each line of scoring_cases.jsonl has an answer, its scorer and the right value."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alphaf_orch.programs.scoring import (
    chosen_option,
    citation_format,
    citation_recall,
    containment,
    exact_numeric,
    wrong_language,
)

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("scoring_cases.jsonl").read_text(encoding="utf-8").splitlines()
]
SCORES: dict[str, Callable[[dict[str, Any]], int | None]] = {
    "exact_numeric": lambda row: exact_numeric(row["answer"], row["value"], row["unit"], 1e-9),
    "chosen_option": lambda row: chosen_option(row["answer"], row["options"]),
    "citation_format": lambda row: citation_format(row["answer"], row["documents"]),
    "containment": lambda row: containment(row["answer"], [[row["key"]]]),
    "wrong_language": lambda row: wrong_language(row["answer"]),
}


@pytest.mark.parametrize("metric", SCORES)
def test_every_case_gets_its_value(metric: str) -> None:
    if metric == "wrong_language":
        pytest.importorskip("py3langid")
    rows = [row for row in ROWS if row["metric"] == metric]
    assert len(rows) > 20
    assert [row for row in rows if SCORES[metric](row) != row["right"]] == []


@pytest.mark.parametrize(
    "spelling",
    [
        "[2번]",
        "[②]",
        "[문서 2]",
        "(2번)",
        "【2】",
        "[^2]",
        "[출처: 2]",
        "［２］",
        "[두 번째 문서]",
        "[二]",
        "[문서 Ⅱ]",
        "⑵",
    ],
)
def test_a_source_named_in_a_wrong_form_is_seen(spelling: str) -> None:
    answer = f"수수료는 1.2%입니다 {spelling}."
    assert (citation_format(answer, 3), citation_recall(answer, 2)) == (0, 1)


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "1,", "(1) ", "[", "|1", "[1](", "2**", "매출(백만원) 1 ", "정답은 1번 ", "손실", "\\frac{"],
)  # fmt: skip
def test_a_long_answer_is_scored_in_time(piece: str) -> None:
    pytest.importorskip("py3langid")
    wrong_language("Die Zinsen Steigen")  # loads the model
    answer = (piece * 32_000)[:32_000]
    begin = time.process_time()
    exact_numeric(answer, -12, "원", 0)
    chosen_option(answer, 5)
    citation_format(answer, 3)
    containment(answer, [["5%"], ["3영업일", "1"]])
    wrong_language(answer)
    assert time.process_time() - begin < 6  # a quadratic scorer takes 10 s and more of each of these
