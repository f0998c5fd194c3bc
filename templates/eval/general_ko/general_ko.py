"""What lm-eval cannot say in YAML: the scores of a short answer.

The scoring functions are those of `alphaf_orch/programs/scoring`; `alphaf eval` lets lm-eval find them as `scoring`.
docs/metrics.md defines every figure.
"""

from scoring import containment, generation_scores


def process_open(doc, results):
    """Return whether one of the accepted words is in the answer, and what is measured of every generation."""
    answer = results[0]
    return {"containment": containment(answer, doc["keywords"]), **generation_scores(answer, doc["question"])}
