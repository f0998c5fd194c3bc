"""What lm-eval cannot say in YAML: prompts made of several fields, and the scores of an answer.

The scoring functions are those of `alphaf_orch/programs/scoring`; `alphaf eval` lets lm-eval find them as `scoring`.
docs/metrics.md defines every figure.
"""

from scoring import numeric_scores, rag_scores

LABELS = ("긍정", "부정", "중립")  # the order of doc_to_choice in sentiment.yaml


def numeric_prompt(doc):
    """Return the table with the question below it."""
    return f"{doc['table']}\n\n{doc['question']}"


def rag_prompt(doc):
    """Return the numbered contexts and the question, in the form of the training samples."""
    contexts = "\n".join(f"[{number}] {text}" for number, text in enumerate(doc["contexts"], start=1))
    return f"{contexts}\n\n질문: {doc['question']}"


def process_numeric(doc, results):
    """Return the scores of one answer to a question about a table."""
    return numeric_scores(results[0], numeric_prompt(doc), doc["value"], doc["unit"], doc["tolerance"])


def process_rag(doc, results):
    """Return the scores of one answer that has to cite its source."""
    return rag_scores(results[0], rag_prompt(doc), len(doc["contexts"]), doc["golden"], doc["keywords"])


def process_sentiment(doc, results):
    """Return whether the most likely of the three words is right, and the pair that macro_f1 needs."""
    likelihoods = [likelihood for likelihood, _ in results]
    chosen = likelihoods.index(max(likelihoods))
    gold = LABELS.index(doc["label"])
    return {"acc": float(chosen == gold), "macro_f1": (gold, chosen)}


def macro_f1(pairs):
    """Return the mean F1 score of the labels that are the gold or the choice of at least one row."""
    from sklearn.metrics import f1_score

    gold, chosen = zip(*pairs, strict=True)
    return float(f1_score(gold, chosen, average="macro", zero_division=0))
