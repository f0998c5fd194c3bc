"""What lm-eval cannot say in YAML: the scores of a short answer.

The scoring functions come from `alphaf_orch/scripts`, which `alphaf eval` puts on the path of lm-eval.
docs/metrics.md defines every figure.
"""

from scoring import generation_scores
from scoring_citations import containment


def process_open(doc, results):
    """Return whether one of the accepted words is in the answer, and what is measured of every generation."""
    answer = results[0]
    return {"containment": containment(answer, doc["keywords"]), **generation_scores(answer, doc["question"])}
