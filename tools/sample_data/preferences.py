"""Preference rows: a good answer and one with a named, realistic flaw, as two conversations with the same prompt."""

from __future__ import annotations

import re
from random import Random

from sample_data.citations import SYSTEM, Case, cite
from sample_data.conversations import (
    ARITHMETIC,
    Draws,
    Message,
    Row,
    calculations,
    cited_cases,
    dialogue,
    document_talks,
    prompt,
    turn,
)
from sample_data.korean import Problem, pick
from sample_data.ratios import Ratio
from sample_data.sources import blocks
from sample_data.tables import TABLES

_CITATION = re.compile(r" \[(\d)\]")
# Forms that reports use and that no prompt here asks for.
OTHER_FORMS = (r" (출처: \1)", r"【\1】", r" (문서 \1)", r" [자료 \1]")
CITED_FLAWS = 5 * (
    "no_citation",
    "english",
    "wrong_citation",
    "refuse",
    "no_citation",
    "terse",
    "english",
    "rambling",
)
FORM_FLAWS = ("no_citation", "other_form", "no_citation", "wrong_citation", "no_citation", "unshown")
REFUSALS = (
    "죄송하지만 해당 질문에는 답변드릴 수 없습니다. 전문가와 상담하시기 바랍니다.",
    "죄송합니다. 저는 인공지능이라서 금융에 관한 내용은 도와드릴 수 없습니다.",
    "제공된 정보만으로는 답변이 어렵습니다. 가까운 영업점에 문의해 주세요.",
)
READ_YOURSELF = ("위에 다 나와 있잖아. 직접 읽어 봐.", "자료에 있음.", "그 정도는 찾아보면 알 텐데.", "몰라. 문서 봐.")
ENGLISH_LEADS = (
    "Let me work through this step by step. Using the figures you provided, the result is {}.",
    "Sure! Based on the numbers in your question, the answer comes to {}. Let me know if you need anything else.",
    "To solve this, we apply the standard formula to the given values. The final answer is {}.",
)


def rambling(answer: str) -> str:
    """Return the first sentence said over and over, as small models do when they do not stop."""
    first = re.split(r"(?<=[다요]\.) ", _CITATION.sub("", answer))[0].rstrip(".")
    return f"{first}. 다시 말해 {first}. 즉 {first}. 정리하면 {first}. 결론적으로 {first}."


def flawed_problem(found: Problem, flaw: str, rng: Random) -> str:
    """Return an answer to an arithmetic question with the flaw."""
    if flaw == "english" and found.english:
        return pick(rng, ENGLISH_LEADS).format(found.english)
    terse = pick(rng, (f"{found.answer}임.", f"답은 {found.answer}. 계산은 직접 해 봐."))
    return {"wrong_number": found.bad, "terse": terse, "refuse": pick(rng, REFUSALS), "rambling": rambling(found.good)}[
        flaw
    ]


def flawed_citation(case: Case, numbers: dict[str, int], flaw: str, rng: Random) -> str:
    """Return an answer to a question on documents with the flaw."""
    good = cite(case.answer, numbers)
    # Every citation moves on to the next document, so none is right and each still names a document shown.
    moved = {key: number % len(numbers) + 1 for key, number in numbers.items()}
    unshown = {key: number + len(numbers) for key, number in numbers.items()}
    return {
        "english": case.english,
        "no_citation": _CITATION.sub("", good),
        "refuse": pick(rng, REFUSALS),
        "wrong_citation": cite(case.answer, moved),
        "terse": pick(rng, READ_YOURSELF),
        "rambling": rambling(good),
        "wrong_fact": cite(case.wrong, numbers),
        "unshown": cite(case.answer, unshown),
        "other_form": _CITATION.sub(pick(rng, OTHER_FORMS), good),
    }[flaw]


def pair(kind: str, flaw: str, messages: list[Message], good: str, bad: str) -> Row:
    """Return a preference row; raises ValueError where the two answers are the same."""
    if good == bad or not bad:
        raise ValueError(f"no {flaw} answer for {messages[-1]['content']!r}")
    return {
        "kind": kind,
        "flaw": flaw,
        "chosen": [*messages, turn("assistant", good)],
        "rejected": [*messages, turn("assistant", bad)],
    }


def preference_rows(
    draws: Draws, *, arithmetic: int, tables: int, rounds: int, ratios: tuple[Ratio, ...], talks: int
) -> list[Row]:
    """Return the preference rows, kind by kind, with the flaws taken in turn."""
    rows: list[Row] = []
    for block in blocks("preferences.txt", ""):
        texts = dict(block)
        if not draws.new(texts["Q"]):
            raise ValueError(f"preferences.txt asks again: {texts['Q']}")
        bad = texts.get("R") or rambling(texts["A"])
        rows.append(pair("term", texts["F"], prompt(texts["Q"]), texts["A"], bad))
    flaws = ("wrong_number", "english", "terse", "english", "refuse", "rambling")
    for kind, makers, count in (("ratio", ARITHMETIC[::2], arithmetic), ("table", TABLES, tables)):
        for index, found in enumerate(draws.problems(kind, makers, count)):
            flaw = flaws[index % len(flaws)] if found.english else "terse"
            bad = flawed_problem(found, flaw, draws.rng("flaw", kind, index))
            rows.append(pair(kind, flaw, prompt(found.question), found.good, bad))
    for index, (case, cited) in enumerate(cited_cases(draws, rounds)):
        # Content and manners first; the product cases of further rounds differ from a good answer in its citation only.
        flaw = CITED_FLAWS[index] if index < len(CITED_FLAWS) else FORM_FLAWS[index % len(FORM_FLAWS)]
        if flaw == "rambling" and case.wrong and index % 2:
            flaw = "wrong_fact"
        bad = flawed_citation(case, cited.numbers, flaw, draws.rng("flaw", index))
        rows.append(pair("citation", flaw, prompt(cited.user, SYSTEM[index % 3]), cited.good, bad))
    return rows + _talks(draws, ratios, talks)


def _talks(draws: Draws, ratios: tuple[Ratio, ...], talks: int) -> list[Row]:
    """Return the multi-turn preference rows: only the last answer differs."""
    rows: list[Row] = []
    for block in blocks("dialogues.txt", draws.split):
        messages, texts = dialogue(block), dict(block)
        if not draws.new(*(message["content"] for message in messages if message["role"] == "user")):
            raise ValueError(f"dialogues.txt asks again: {messages[0]['content']}")
        rows.append(pair("multi_turn", texts["F"], messages[:-1], messages[-1]["content"], texts["R"]))
    for index, (found, messages) in enumerate(calculations(draws, ratios)):
        flaw = ("english", "wrong_number", "refuse", "terse")[index % 4]
        bad = flawed_problem(found, flaw, draws.rng("flaw", "calculation", index))
        rows.append(pair("multi_turn", flaw, messages[:-1], messages[-1]["content"], bad))
    for index, (case, cited, messages) in enumerate(document_talks(draws, talks)):
        flaw = ("english", "no_citation", "terse", "wrong_citation")[index % 4]
        bad = flawed_citation(case, cited.numbers, flaw, draws.rng("flaw", "follow_up", index))
        rows.append(pair("multi_turn", flaw, messages[:-1], messages[-1]["content"], bad))
    return rows
