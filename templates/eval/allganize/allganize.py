"""Reads the rows of Allganize's public test sets and scores what a model answers to them.

The layout is what their cards and readers show. Where nobody has shown it, the comment says [unverified]; a row that
is laid out otherwise is left out and printed, never guessed at, and with many such rows the task stops.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scoring import (
    PLAIN,
    UNITS,
    chosen_option,
    citation_format,
    citation_precision,
    citation_recall,
    exact_numeric,
    generation_scores,
    normalised,
    option_count,
    quantities,
)

Row = Mapping[str, Any]

# A few odd rows are the data's, many are a layout that this file does not know.
MOST_ODD_ROWS = 0.05
EXIT_DATA = 3
_PRINTED: set[str] = set()

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
LABELS = (("긍정", "부정", "중립"), ("positive", "negative", "neutral"))


class OddRow(ValueError):
    """A row that is not laid out as this file knows it."""


def prepared(dataset: Any, read: Callable[[Row], dict[str, Any]]) -> Any:
    """Return the data set of what `read` makes of each row, under an `id` that no two rows share."""
    from datasets import Dataset

    rows: list[dict[str, Any]] = []
    odd: list[str] = []
    seen: Counter[str] = Counter()
    for number, row in enumerate(dataset):
        # 104 ids of financial-mmlu-ko stand for two different questions each.
        name = str(row.get("conversation_id", row.get("index", number)))
        seen[name] += 1
        name = name if seen[name] == 1 else f"{name}.{seen[name]}"
        try:
            rows.append({"id": name, **read(row)})
        except OddRow as problem:
            odd.append(f"row {number} ({name}): {problem}")
    for line in odd[:20]:
        # lm-eval asks for the rows several times.
        if line not in _PRINTED:
            print(f"left out, {line}", file=sys.stderr)
            _PRINTED.add(line)
    if not rows or len(odd) > MOST_ODD_ROWS * len(dataset):
        print(
            f"error: {len(odd)} of {len(dataset)} rows are not laid out as this task knows them\n"
            f"  where: {odd[0] if odd else 'the data set has no rows'}\n"
            "  next:  compare the data set's columns with templates/eval/allganize/allganize.py; a changed copy of that"
            " folder in your own templates is used instead of it",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_DATA)
    return Dataset.from_list(rows)


def turns(row: Row) -> list[tuple[str, str]]:
    """Return the (role, text) turns of a ShareGPT row: `conversations` of {from, value}."""
    found = row.get("conversations")
    if isinstance(found, Mapping):  # `datasets` turns a sequence of structs into a struct of sequences
        found = [{"from": who, "value": text} for who, text in zip(found["from"], found["value"], strict=True)]
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise OddRow(f"no list `conversations` in it, its columns are {', '.join(row)}")
    pairs = []
    for turn in found:
        role, text = ROLES.get(str(turn.get("from")).strip().lower()), turn.get("value")
        if role is None or not isinstance(text, str):
            raise OddRow(f"a turn with from={turn.get('from')!r}")
        pairs.append((role, text.strip()))
    return pairs


def first_question(row: Row) -> dict[str, str]:
    """Return system text, prompt and gold answer of the conversation's first question."""
    pairs = turns(row)
    system = "\n".join(text for role, text in pairs if role == "system")
    rest = [pair for pair in pairs if pair[0] != "system"]
    if [role for role, _ in rest[:2]] != ["user", "assistant"] or not rest[0][1] or not rest[1][1]:
        raise OddRow("it does not begin with a question and its answer")
    return {"system": system, "prompt": rest[0][1], "gold": rest[1][1]}


# financial-mmlu-ko: the question, then its options, one numbered line each (a long one goes on in the next line).


def mmlu_docs(dataset: Any) -> Any:
    """Return the questions with their option counts."""
    return prepared(dataset, _mmlu)


def _mmlu(row: Row) -> dict[str, Any]:
    found = first_question(row)
    options = option_count(found["prompt"])
    gold = unicodedata.normalize("NFKC", found["gold"])
    if options < 2:
        raise OddRow("no numbered options in the question")
    if not gold.isdecimal() or not 1 <= int(gold) <= options:
        raise OddRow(f"its answer is {gold!r}, its options are 1 to {options}")
    return {**found, "gold": str(int(gold)), "options": options}


def process_mmlu(doc: Row, results: Sequence[str]) -> dict[str, float]:
    """Return accuracy, and whether the answer names one of the options at all."""
    number = chosen_option(results[0], doc["options"])
    return {"acc": float(number == int(doc["gold"])), "answered": float(number is not None)}


# flare-fiqasa-ko, en-fpb-ko: the prompt ends in a cue for the label. That en-fpb-ko is laid out like
# flare-fiqasa-ko is [unverified], as is the language of its labels: the options are those of the gold's language.


def sentiment_docs(dataset: Any) -> Any:
    """Return the prompts with the three labels to choose from."""
    return prepared(dataset, _sentiment)


def _sentiment(row: Row) -> dict[str, Any]:
    found = first_question(row)
    gold = found["gold"].strip(" .'\"").casefold()
    labels = next((labels for labels in LABELS if gold in labels), None)
    if labels is None:
        raise OddRow(f"its answer is {found['gold']!r}, which is no label")
    return {**found, "gold": gold, "choices": list(labels), "label": labels.index(gold)}


def process_sentiment(doc: Row, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Return whether the likeliest label is the right one, and both for the F1 over all rows."""
    likely = max(range(len(results)), key=lambda label: results[label][0])
    return {"acc": float(likely == doc["label"]), "macro_f1": (doc["label"], likely)}


def macro_f1(pairs: Sequence[tuple[int, int]]) -> float:
    """Return the mean F1 score of the labels that are the gold or the choice of at least one row."""
    from sklearn.metrics import f1_score

    gold, chosen = zip(*pairs, strict=True)
    return float(f1_score(gold, chosen, average="macro", zero_division=0))


# flare-convfinqa-ko: text and table of a filing with the first question on it. How its golds are written is
# [unverified]; in ConvFinQA they are plain numbers, shares as decimal fractions.

RELATIVE_TOLERANCE = 0.01  # ours
# A table "in millions" has 206,588 where a good answer says 206,588백만 달러.
SCALES = (1, 10**3, 10**6, 10**8, 10**9)


def convfinqa_docs(dataset: Any) -> Any:
    """Return the questions whose gold is one number."""
    return prepared(dataset, _convfinqa)


def _convfinqa(row: Row) -> dict[str, Any]:
    found = first_question(row)
    numbers = list(quantities(normalised(found["gold"])))
    if len(numbers) != 1 or numbers[0].unit not in (PLAIN, *UNITS):
        raise OddRow(f"its answer is {found['gold'][:60]!r}, which is not one number")
    # That the question is the prompt's last line is [unverified]; where it is not, each row is a document of its own.
    document = found["prompt"].strip().rpartition("\n")[0]
    return {**found, "value": float(numbers[0].value), "unit": numbers[0].unit, "document": document}


def process_convfinqa(doc: Row, results: Sequence[str]) -> dict[str, float]:
    """Return whether the answer's final number is the gold one, within 1%, and what can be said of any generation."""
    answer = results[0]
    right = any(
        exact_numeric(answer, value, unit, abs(value) * RELATIVE_TOLERANCE)
        for value, unit in _spellings(doc["value"], doc["unit"], answer)
    )
    return {"exact_numeric": float(right), **generation_scores(answer, doc["prompt"])}


def _spellings(value: float, unit: str, answer: str) -> Iterator[tuple[float, str]]:
    """Yield the gold as the answer may write it: a share as a percentage, an amount in the unit of its table."""
    yield value, unit
    # Without the sign, 300 is no 3: the other spellings need their unit in the answer.
    units = {number.unit for number in quantities(normalised(answer))}
    if unit == PLAIN and "%" in units:
        yield value * 100, "%"
    if unit == PLAIN:
        yield from ((value * scale, currency) for scale in SCALES for currency in {"달러", "원"} & units)
    if unit == "%" and "%" not in units:
        yield value / 100, PLAIN


# rag-ko: `system` holds the instruction and three contexts, `human` the question. Where the golden context stands is
# `answer_position`; whether that counts from 0 or 1 is [unverified], so it is read from the whole split. How the
# data want sources cited is [unverified] too: the rule here is ours, said to the model in the task's description.

CONTEXTS = 3


def rag_docs(dataset: Any) -> Any:
    """Return the questions with the number of the golden context, counted from 1."""
    places = {row.get("answer_position") for row in dataset}
    # 1 and 2 alone fit both ways of counting.
    first = 0 if 0 in places else 1 if CONTEXTS in places else None
    return prepared(dataset, lambda row: _rag(row, first))


def _rag(row: Row, first: int | None) -> dict[str, Any]:
    texts = [row.get(column) for column in ("system", "human", "answer")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise OddRow(f"no system, human or answer text in it, its columns are {', '.join(row)}")
    place = row.get("answer_position")
    if first is None:
        raise OddRow(f"answer_position is {place!r}, and no row shows whether it counts from 0 or from 1")
    if not isinstance(place, int) or not first <= place < first + CONTEXTS:
        raise OddRow(f"answer_position is {place!r}, counted from {first}")
    system, human, answer = (text.strip() for text in texts)
    return {"system": system, "prompt": human, "gold": answer, "golden": place - first + 1}


def process_rag(doc: Row, results: Sequence[str]) -> dict[str, float]:
    """Return the scores of citations by our rule, how much of the gold answer is there, and those of any generation."""
    answer = results[0]
    return {
        "overlap": overlap(answer, doc["gold"]),
        "citation_format": float(citation_format(answer, CONTEXTS)),
        "citation_precision": float(citation_precision(answer, doc["golden"])),
        "citation_recall": float(citation_recall(answer, doc["golden"])),
        **generation_scores(answer, f"{doc['system']}\n{doc['prompt']}"),
    }


def overlap(answer: str, gold: str) -> float:
    """Return the share of the gold answer's character pairs that the answer has as often: a rough, lexical measure.

    Pairs of characters, not words: Korean particles change a word's end, not its meaning. A judge reads better.
    """
    wanted, given = _pairs(gold), _pairs(answer)
    return sum((wanted & given).values()) / wanted.total() if wanted else 0.0


def _pairs(text: str) -> Counter[str]:
    words = re.sub(r"\[\d+\]", " ", unicodedata.normalize("NFKC", text)).casefold()
    runs = re.findall(r"\w+", words)
    return Counter(run[i : i + 2] for run in runs for i in range(max(1, len(run) - 1)))
