"""Questions on two or three numbered documents, answered with the number of the document that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from sample_data.korean import Word, pick, shuffled
from sample_data.products import Fact, Facts, Family
from sample_data.sources import blocks

SYSTEM = (
    "자료만 보고 답하고 근거 번호를 [1]처럼 적으세요.",
    "자료를 근거로 존댓말로 답하고 출처를 [번호]로 표시하세요.",
    "문서에서 답을 찾고 그 문서 번호를 대괄호로 인용하세요.",
)
_MARK = re.compile(r"\{([a-c])\}")


@dataclass(frozen=True)
class Case:
    """Documents by key, a question, its answer with {key} as citations, and rejected material where there is some."""

    documents: dict[str, str]
    question: str
    answer: str
    english: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Cited:
    """A case laid out for a reader: the user turn, the answer with [n], and n by document key."""

    user: str
    good: str
    numbers: dict[str, int]


def cite(text: str, numbers: dict[str, int]) -> str:
    """Return text with every {key} replaced by the [n] of that document."""
    return _MARK.sub(lambda mark: f"[{numbers[mark.group(1)]}]", text)


def lay_out(case: Case, rng: Random, place: int) -> Cited:
    """Return the case with two or three documents; a single cited one stands at `place`, counted round."""
    cited = sorted(set(_MARK.findall(case.answer)))
    others = shuffled(rng, sorted(case.documents.keys() - set(cited)))
    # Two documents in most rows: Korean costs an English tokenizer about two tokens a syllable.
    others = others[: (3 if rng.random() < 0.25 else 2) - len(cited)]
    if len(cited) == 1:
        keys = others.copy()
        keys.insert(place % (len(others) + 1), cited[0])
    else:
        keys = shuffled(rng, cited + others)
    numbers = {key: index for index, key in enumerate(keys, 1)}
    listed = "\n".join(f"[{numbers[key]}] {case.documents[key]}" for key in keys)
    return Cited(f"{listed}\n\n질문: {case.question}", cite(case.answer, numbers), numbers)


def written_cases(split: str) -> list[Case]:
    """Return the hand-written cases of a split."""
    cases: list[Case] = []
    for block in blocks("citations.txt", split):
        documents = {text.split(" ", 1)[0]: text.split(" ", 1)[1] for key, text in block if key == "P"}
        questions, answers, english = ([text for key, text in block if key == name] for name in "QAE")
        english = english or [""] * len(questions)
        cases += [Case(documents, *texts) for texts in zip(questions, answers, english, strict=True)]
    return cases


def _fact_case(fact: Fact, key: str, documents: dict[str, str], facts: dict[str, Facts], other: str) -> Case:
    here, there = facts[key], facts[other] | {"name": facts[key]["name"]}
    mark = f"{{{key}}}"
    return Case(
        documents,
        fact.question.format(**here),
        fact.answer.format(a=mark, **here),
        fact.english.format(**here),
        fact.answer.format(a=mark, **there),
    )


def drawn_facts(family: Family, rng: Random) -> tuple[dict[str, str], dict[str, Facts]]:
    """Return three invented documents of a family by key a, b, c, and the facts in each; no two share a value."""
    names = shuffled(rng, family.names)[:3]
    facts: dict[str, Facts] = {}
    for key, name in zip("abc", names, strict=True):
        drawn = family.draw(rng)
        while any(drawn[field] == old[field] for old in facts.values() for field in drawn if field != "index"):
            drawn = family.draw(rng)
        facts[key] = {"name": Word(name), **drawn}
    return {key: family.document.format(**values) for key, values in facts.items()}, facts


def product_cases(family: Family, rng: Random) -> list[Case]:
    """Return three cases citing one document each and one comparing two."""
    documents, facts = drawn_facts(family, rng)
    keys = shuffled(rng, "abc")
    cases = [
        _fact_case(fact, key, documents, facts, other)
        for fact, key, other in zip(family.facts, keys, keys[1:] + keys[:1], strict=True)
    ]
    first, second = shuffled(rng, "abc")[:2]
    x, y = facts[first], facts[second]
    values = [Decimal(side[family.compared].rstrip("%")) for side in (x, y)]
    better, worse = (x, y) if values[0] > values[1] else (y, x)
    label = "연 " if family.compared in ("base", "cost") else ""
    told = (
        f"{x['name']:은} {label}{x[family.compared]} {{{first}}}, "
        f"{y['name']:은} {label}{y[family.compared]}입니다 {{{second}}}. "
    )
    names = {"x": x["name"], "y": y["name"]}
    cases.append(
        Case(
            documents,
            family.compare_question.format(**names),
            told + family.compare_end.format(w=better["name"]),
            f"Comparing the two, the figures are {x[family.compared]} and {y[family.compared]}.",
            told + family.compare_end.format(w=worse["name"]),
        )
    )
    return cases


def follow_up(family: Family, rng: Random, place: int) -> tuple[Cited, Case]:
    """Return a laid-out case of a family and a second case on the same documents, asked in a next turn."""
    documents, facts = drawn_facts(family, rng)
    pair = {key: documents[key] for key in "ab"}
    first, second = shuffled(rng, "ab")
    other = "b" if second == "a" else "a"
    start = _fact_case(pick(rng, family.facts), first, pair, facts, second)
    return lay_out(start, rng, place), _fact_case(family.follow_up, second, pair, facts, other)
