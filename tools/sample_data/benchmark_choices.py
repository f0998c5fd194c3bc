"""The rows of the benchmark tasks with given answers, from sources/mcq.txt and sources/sentiment.txt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from random import Random
from typing import TypeVar

from sample_data.korean import shuffled
from sample_data.sources import blocks

TOPICS = (
    "회계",
    "기업재무",
    "채권",
    "주식과 가치평가",
    "파생상품",
    "펀드와 ETF",
    "은행과 여신",
    "보험",
    "거시경제와 통화정책",
    "세금",
    "시장과 제도",
    "위험관리",
    "지급결제와 디지털금융",
    "금융계산",
)
LABELS = ("긍정", "부정", "중립")
T = TypeVar("T")
Row = dict[str, object]


def mcq_rows() -> list[Row]:
    """Return the four-option questions about finance."""
    return choice_rows("mcq", TOPICS, "mcq")


def choice_rows(source: str, topics: Sequence[str], prefix: str) -> list[Row]:
    """Return the four-option questions of a source file, ids with the prefix, topics in turn.

    Four rows on end have their answers at 0, 1, 2 and 3.
    """
    rows: list[Row] = []
    places: list[int] = []
    for topic, lines in in_turn({topic: blocks(f"{source}.txt", topic) for topic in topics}):
        rng = Random(f"benchmark/{source}/{len(rows)}")
        places = places or shuffled(rng, range(4))
        texts: dict[str, list[str]] = {}
        for key, text in lines:
            texts.setdefault(key, []).append(text)
        (question,), (right,) = texts["Q"], texts["+"]
        choices = shuffled(rng, texts["-"])
        answer = places.pop()
        choices.insert(answer, right)
        rows.append(
            {
                "id": f"{prefix}-{len(rows) + 1:03}",
                "topic": topic,
                "question": question,
                "choices": choices,
                "answer": answer,
            }
        )
    return rows


def sentiment_rows() -> list[Row]:
    """Return the labelled sentences, mixed so that the first rows hold every label."""
    lines = {label: [line for block in blocks("sentiment.txt", label) for line in block] for label in LABELS}
    rng = Random("benchmark/sentiment")
    mixed = in_turn({label: shuffled(rng, texts) for label, texts in lines.items()})
    return [
        {"id": f"sent-{number:03}", "text": text, "label": label} for number, (label, (_, text)) in enumerate(mixed, 1)
    ]


def in_turn(groups: dict[str, list[T]]) -> list[tuple[str, T]]:
    """Return one item of every group after the other, so that a run with --limit meets all of them."""
    turns = zip_longest(*([(name, item) for item in items] for name, items in groups.items()))
    return [pair for turn in turns for pair in turn if pair is not None]
