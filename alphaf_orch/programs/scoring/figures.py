"""The figures of a generated answer, by metric name: what a task's `process_results` hook returns to lm-eval."""

from __future__ import annotations

from collections.abc import Sequence

from alphaf_orch.programs.scoring.answer import exact_numeric
from alphaf_orch.programs.scoring.citations import (
    citation_format,
    citation_precision,
    citation_recall,
    containment,
)
from alphaf_orch.programs.scoring.language import wrong_language
from alphaf_orch.programs.scoring.text import empty, length_chars, looping

Scores = dict[str, float]


def generation_scores(answer: str, prompt: str) -> Scores:
    """Return what is measured of every generation; a word of the prompt is never a wrong language."""
    return {
        "wrong_language": wrong_language(answer, prompt),
        "empty": empty(answer),
        "looping": looping(answer),
        "length_chars": length_chars(answer),
    }


def numeric_scores(answer: str, prompt: str, value: float, unit: str, tolerance: float) -> Scores:
    """Return the scores of an answer to a question whose answer is one number."""
    return {"exact_numeric": exact_numeric(answer, value, unit, tolerance), **generation_scores(answer, prompt)}


def rag_scores(answer: str, prompt: str, contexts: int, golden: int, keywords: Sequence[Sequence[str]]) -> Scores:
    """Return the scores of an answer that has to cite the golden one of so many numbered contexts."""
    return {
        "citation_format": citation_format(answer, contexts),
        "citation_precision": citation_precision(answer, golden),
        "citation_recall": citation_recall(answer, golden),
        "containment": containment(answer, keywords),
        **generation_scores(answer, prompt),
    }
