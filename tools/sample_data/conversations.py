"""Training conversations: every row with its kind, its messages and, for arithmetic, its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from sample_data.citations import SYSTEM, Case, Cited, cite, follow_up, lay_out, product_cases, written_cases
from sample_data.interest import INTEREST
from sample_data.korean import Problem, Word, pick
from sample_data.markets import MARKETS
from sample_data.products import FAMILIES
from sample_data.ratios import RATIOS, Ratio, ratio_problem
from sample_data.sources import Lines, blocks
from sample_data.tables import TABLES

Message = dict[str, str]
Row = dict[str, object]
ADVISER = (
    "당신은 은행 상담원입니다. 존댓말로 짧게 답하세요.",
    "금융 질문에 정확하고 간결하게 답하세요.",
    "계산 과정을 한 줄로 보이고 답을 적으세요.",
)


def turn(role: str, content: str) -> Message:
    """Return one message."""
    return {"role": role, "content": content}


def prompt(user: str, system: str = "") -> list[Message]:
    """Return a first user turn after an optional system turn."""
    return [*([turn("system", system)] if system else []), turn("user", user)]


class Draws:
    """Draws of one split that never ask a question already in `seen`, which the splits share."""

    def __init__(self, split: str, seen: set[str]) -> None:
        self.split = split
        self.seen = seen

    def rng(self, *names: object) -> Random:
        """Return the random stream of a name, the same on every machine and Python."""
        return Random("/".join(map(str, (self.split, *names))))

    def new(self, *questions: str) -> bool:
        """Return whether no question was asked before, and remember them if so."""
        if self.seen.intersection(questions):
            return False
        self.seen.update(questions)
        return True

    def problems(self, kind: str, makers: tuple[Callable[[Random], Problem], ...], count: int) -> Iterator[Problem]:
        """Yield count new problems whose wrong answer differs from the right one, taking the makers in turn."""
        for index in range(count):
            rng = self.rng(kind, index)
            drawn = makers[index % len(makers)](rng)
            while drawn.answer == drawn.wrong or not self.new(drawn.question):
                drawn = makers[index % len(makers)](rng)
            yield drawn


def ratio_makers(ratios: tuple[Ratio, ...] = RATIOS) -> tuple[Callable[[Random], Problem], ...]:
    """Return one maker for each ratio."""
    return tuple((lambda rng, ratio=ratio: ratio_problem(ratio, rng)) for ratio in ratios)


ARITHMETIC = (*ratio_makers(), *INTEREST, *MARKETS)


def cited_cases(draws: Draws, rounds: int, kept: int = 4) -> list[tuple[Case, Cited]]:
    """Return the written cases of the split and `kept` new product cases for every family and round."""
    cases = written_cases(draws.split)
    for index in range(rounds * len(FAMILIES)):
        rng = draws.rng("product", index)
        made = product_cases(FAMILIES[index % len(FAMILIES)], rng)
        # The comparison is the last of the four; with few kept, take another of them each time.
        cases += [made[(index + step) % 4] for step in range(kept)]
    laid = [(case, lay_out(case, draws.rng("layout", index), index)) for index, case in enumerate(cases)]
    return [(case, cited) for case, cited in laid if draws.new(cited.user)]


def calculations(draws: Draws, ratios: tuple[Ratio, ...]) -> Iterator[tuple[Problem, list[Message]]]:
    """Yield for each ratio a problem and a conversation: the definition first, the value next."""
    problems = draws.problems("calculation", ratio_makers(ratios), len(ratios))
    for ratio, full in zip(ratios, problems, strict=True):
        found = replace(full, reply=full.reply.removeprefix(ratio.definition + " "))
        yield (
            found,
            [
                turn("user", f"{Word(ratio.name):은} 어떻게 계산하나요?"),
                turn("assistant", ratio.definition),
                turn("user", found.question),
                turn("assistant", found.good),
            ],
        )


def document_talks(draws: Draws, count: int) -> Iterator[tuple[Case, Cited, list[Message]]]:
    """Yield conversations that ask twice about the same documents, the second answer last."""
    for index in range(count):
        rng = draws.rng("follow_up", index)
        first, second = follow_up(FAMILIES[index % len(FAMILIES)], rng, index)
        while not draws.new(first.user, second.question):
            first, second = follow_up(FAMILIES[index % len(FAMILIES)], rng, index)
        yield (
            second,
            first,
            [
                *prompt(first.user, pick(rng, SYSTEM)),
                turn("assistant", first.good),
                turn("user", second.question),
                turn("assistant", cite(second.answer, first.numbers)),
            ],
        )


def dialogue(block: Lines) -> list[Message]:
    """Return the messages of a hand-written conversation."""
    return [turn("user" if key == "U" else "assistant", text) for key, text in block if key in "UA"]


def sft_rows(
    draws: Draws, *, arithmetic: int, tables: int, rounds: int, kept: int, ratios: tuple[Ratio, ...], talks: int
) -> list[Row]:
    """Return the supervised rows of a split, kind by kind."""
    rows: list[Row] = []
    for index, block in enumerate(blocks("terms.txt", draws.split)):
        (_, question), (_, answer) = block
        if not draws.new(question):
            raise ValueError(f"terms.txt asks twice: {question}")
        system = ADVISER[index // 4 % 2] if index % 4 == 0 else ""
        rows.append({"kind": "term", "messages": [*prompt(question, system), turn("assistant", answer)]})
    # A short split takes every n-th maker, so that it still meets ratios, interest and markets.
    spaced = ARITHMETIC[:: max(1, len(ARITHMETIC) // arithmetic)]
    for kind, makers, count in (("ratio", spaced, arithmetic), ("table", TABLES, tables)):
        for index, found in enumerate(draws.problems(kind, makers, count)):
            system = ADVISER[2] if index % 6 == 5 else ""
            rows.append(
                {
                    "kind": kind,
                    "answer": found.answer,
                    "messages": [*prompt(found.question, system), turn("assistant", found.good)],
                }
            )
    for index, (_, cited) in enumerate(cited_cases(draws, rounds, kept)):
        system = "" if index % 6 == 5 else SYSTEM[index % 3]
        rows.append({"kind": "citation", "messages": [*prompt(cited.user, system), turn("assistant", cited.good)]})
    talked = [dialogue(block) for block in blocks("dialogues.txt", draws.split)]
    for messages in talked:
        if not draws.new(*(message["content"] for message in messages if message["role"] == "user")):
            raise ValueError(f"dialogues.txt asks twice: {messages[0]['content']}")
    talked += [messages for _, messages in calculations(draws, ratios)]
    talked += [messages for _, _, messages in document_talks(draws, talks)]
    rows += [{"kind": "multi_turn", "messages": messages} for messages in talked]
    return rows
