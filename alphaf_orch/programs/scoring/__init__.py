"""The figures of an answer, each a plain function of it (docs/metrics.md), with no model and no network.

A task's own python reaches them as `from scoring import ...`; what is named here is what it may rely on.
"""

from alphaf_orch.programs.scoring.answer import exact_numeric
from alphaf_orch.programs.scoring.choice import chosen_option, option_count
from alphaf_orch.programs.scoring.citations import citation_format, citation_precision, citation_recall, containment
from alphaf_orch.programs.scoring.figures import generation_scores, numeric_scores, rag_scores
from alphaf_orch.programs.scoring.language import wrong_language
from alphaf_orch.programs.scoring.numbers import PLAIN, UNITS, normalised, quantities
from alphaf_orch.programs.scoring.text import empty, length_chars, looping

__all__ = [
    "PLAIN", "UNITS", "chosen_option", "citation_format", "citation_precision", "citation_recall", "containment",
    "empty", "exact_numeric", "generation_scores", "length_chars", "looping", "normalised", "numeric_scores",
    "option_count", "quantities", "rag_scores", "wrong_language",
]  # fmt: skip
