"""The rows of the general-ko benchmark, from sources/general_mcq.txt and sources/general_open.txt."""

from __future__ import annotations

from sample_data.benchmark_choices import Row, choice_rows, in_turn
from sample_data.sources import blocks

TOPICS = (
    "이름과 호칭",
    "속담과 관용구",
    "낱말과 맞춤법",
    "한국 지리",
    "한국 역사",
    "한국 문화와 명절",
    "과학 상식",
    "세계 지리",
    "생활 수학과 논리",
)


def general_mcq_rows() -> list[Row]:
    """Return the four-option questions, topics in turn, the places of their answers as in `choice_rows`."""
    return choice_rows("general_mcq", TOPICS, "general")


def general_open_rows() -> list[Row]:
    """Return the short questions, topics in turn, each with an answer and one group of words of which it holds one."""
    rows: list[Row] = []
    for topic, lines in in_turn({topic: blocks("general_open.txt", topic) for topic in TOPICS}):
        texts = dict(lines)
        rows.append(
            {
                "id": f"open-{len(rows) + 1:03}",
                "topic": topic,
                "question": texts["Q"],
                "answer": texts["A"],
                "keywords": [texts["K"].split("|")],
            }
        )
    return rows
