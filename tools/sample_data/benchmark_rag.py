"""The rows of the RAG benchmark: three documents, one of them golden, a question and the cited answer."""

from __future__ import annotations

import re
from itertools import chain, zip_longest
from random import Random

from sample_data.benchmark_family import Case, family_cases, variants
from sample_data.benchmark_issuers import ISSUERS
from sample_data.benchmark_products import PRODUCTS
from sample_data.korean import shuffled
from sample_data.sources import blocks

ROUNDS = 5
_MARK = re.compile(r" \{([abc])\}\.$")


def written_cases() -> list[Case]:
    """Return the hand-written cases: the three documents of a block are golden in turn."""
    cases = []
    for block in blocks("benchmark_rag.txt", "rag"):
        (topic,) = (text for key, text in block if key == "T")
        documents = {text[0]: text[2:] for key, text in block if key == "P"}
        asked = ([text for key, text in block if key == name] for name in "QAK")
        for question, answer, keywords in zip(*asked, strict=True):
            mark = _MARK.search(answer)
            if mark is None:
                raise ValueError(f"benchmark_rag.txt: no citation at the end of {answer!r}")
            others = tuple(text for key, text in documents.items() if key != mark[1])
            ways = [
                list(dict.fromkeys(chain.from_iterable(map(variants, group.split("|")))))
                for group in keywords.split(";")
            ]
            cases.append(Case(topic, question, documents[mark[1]], others, answer[: mark.start()], ways))
    return cases


def rag_rows() -> list[dict[str, object]]:
    """Return the rows in order of their ids; the golden document stands first, second and third equally often."""
    drawn = [list(family_cases(family, ROUNDS)) for family in (*PRODUCTS, *ISSUERS)]
    # One case of every family in turn, so that any part of the file holds every kind of document.
    cases = [case for turn in zip_longest(*drawn) for case in turn if case is not None]
    cases += written_cases()
    # Counted within a topic, so that no topic has a favourite place; topics start at the three places in turn.
    places = {topic: start for start, topic in enumerate(dict.fromkeys(case.topic for case in cases))}
    rows: list[dict[str, object]] = []
    for index, case in enumerate(shuffled(Random("benchmark/rag/order"), cases)):
        contexts = shuffled(Random(f"benchmark/rag/layout/{index}"), case.others)
        golden = places[case.topic] % 3 + 1
        places[case.topic] += 1
        contexts.insert(golden - 1, case.golden)
        rows.append(
            {
                "id": f"rag-{index + 1:03}",
                "topic": case.topic,
                "question": case.question,
                "contexts": contexts,
                "golden": golden,
                "answer": f"{case.answer} [{golden}].",
                "keywords": case.keywords,
            }
        )
    return rows
