"""Families of invented documents for the RAG benchmark: names, facts to draw, two wordings and questions on them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from sample_data.korean import Word, pick, shuffled, won

STEMS = (
    *("벼리", "윤슬", "도담", "단비", "여울", "나래", "솔빛", "소담", "늘솔", "별하"),
    *("미쁨", "산들", "하람", "이든", "해솔", "아라", "온빛", "너울", "들꽃", "버들"),
    *("달무리", "다붓", "해오름", "초롱", "하늬", "마파람", "돋을볕", "한모루", "아침놀", "또바기"),
)
_AMOUNT = re.compile(r"(?:([\d,]+)조 ?)?(?:([\d,]+)억 ?)?(?:([\d,]+)만)?([\d,]+)?원")
_FIELD = re.compile(r"\{(\w+)")
_DAYS = {"하루": "1일", "이틀": "2일", "사흘": "3일"}
Keywords = list[list[str]]
Facts = dict[str, Word]


@dataclass(frozen=True)
class Ask:
    """A question on one document, its answer before the citation, and what a right answer has to contain.

    A keyword is `{field}`, which stands for every usual way to write that fact, or alternatives split by `|`.
    """

    question: str
    answer: str
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Documents of one kind; a field key of several words is drawn together (a fact and its keywords)."""

    topic: str
    names: Sequence[str]
    fields: dict[str, Sequence[str] | Sequence[tuple[str, ...]]]
    documents: tuple[str, ...]
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Case:
    """A question with its golden document, the two others, the answer without citation, and the keywords."""

    topic: str
    question: str
    golden: str
    others: tuple[str, ...]
    answer: str
    keywords: Keywords


def named(first: int, *forms: str) -> list[str]:
    """Return fifteen names from the stems, starting at one of them, with the forms in turn ({s} is the stem)."""
    return [forms[index % len(forms)].format(s=STEMS[(first + index) % len(STEMS)]) for index in range(len(STEMS) // 2)]


def variants(text: str) -> list[str]:
    """Return the usual ways to write a fact: with and without commas and spaces, in won, years or percent."""
    if "|" in text:
        return text.split("|")
    found = [text, _DAYS.get(text, text)]
    amount = _AMOUNT.fullmatch(text)
    if amount:
        jo, eok, man, rest = (int((group or "0").replace(",", "")) for group in amount.groups())
        total = jo * 10**12 + eok * 10**8 + man * 10**4 + rest
        found += [won(total), f"{total:,}원"]
        if man and total % 10**7 == 0:
            found.append(text.replace(f"{man:,}만", f"{man // 1000}천만"))
        if jo and eok % 100 == 0:
            found.append(f"{total / 10**12:g}조원")
        elif eok and not jo and man % 100 == 0:
            found.append(f"{total / 10**8:g}억원")
    elif match := re.fullmatch(r"([\d.]+)%(p?)", text):
        found += [f"{match[1]}%", f"{match[1]}퍼센트", f"{match[1]}프로"]
        if match[2]:
            found += [f"{match[1]}%포인트", f"{match[1]}퍼센트포인트", f"{float(match[1]) * 100:g}bp"]
    elif match := re.fullmatch(r"([\d.]+)bp", text):
        found += [f"{match[1]} bp", f"{match[1]}베이시스"]
    elif match := re.fullmatch(r"([\d,]+)만주", text):
        found.append(f"{int(match[1].replace(',', '')) * 10_000:,}주")
    elif (match := re.fullmatch(r"(\d+)개월", text)) and int(match[1]) >= 12:
        years, months = divmod(int(match[1]), 12)
        found.append(f"{years}년" + (f" {months}개월" if months else ""))
    # "1억5천만 원", "1억 5천만원", "90 일": a unit may stand apart from its number, and commas may be left out.
    spaced = [
        re.sub(r"(?<=[\d만억조천])(원|주|일|분|시간|배|년|건|종|개월|개국|개|영업일|달러|퍼센트|%)", r" \1", way)
        for way in found
    ]
    ways = [*found, *spaced]
    ways += [way.replace(",", "") for way in ways]
    ways += [re.sub(r"(?<=[조억]) ", "", way) for way in ways]
    ways += [way.replace(" ", "") for way in ways]
    return list(dict.fromkeys(ways))


def satisfied(keywords: Keywords, text: str) -> bool:
    """Return whether a text contains one member of every list."""
    return all(any(way in text for way in ways) for ways in keywords)


def _draw(family: Family, names: Sequence[str], rng: Random) -> list[Facts]:
    facts: list[Facts] = [{"name": Word(name)} for name in names]
    for key, choices in family.fields.items():
        fields = key.split()
        for one, chosen in zip(facts, shuffled(rng, list(choices)), strict=False):
            values = (chosen,) if isinstance(chosen, str) else chosen
            one.update({field: Word(value) for field, value in zip(fields, values, strict=True)})
    return facts


def _expand(ask: Ask, facts: Facts) -> Keywords:
    return [variants(keyword.format(**facts)) for keyword in ask.keywords]


def _clear(case: Case, ask: Ask, facts: Facts) -> bool:
    """Return whether the keywords point at this fact only: no other document and no other fact has them."""
    asked = set(_FIELD.findall("".join((ask.answer, *ask.keywords))))
    unasked = [value for field, value in facts.items() if field not in asked]
    return not any(satisfied(case.keywords, text) for text in (*case.others, *unasked, case.question))


def family_cases(family: Family, count: int) -> Iterator[Case]:
    """Yield count cases with the questions in turn, three fresh names each."""
    for turn in range(count):
        rng = Random(f"benchmark/rag/{family.topic}/{turn}")
        ask, names = family.asks[turn % len(family.asks)], family.names[3 * turn : 3 * turn + 3]
        while True:
            facts = _draw(family, names, rng)
            golden, *others = (pick(rng, family.documents).format(**one) for one in facts)
            mine = facts[0]
            case = Case(
                family.topic,
                ask.question.format(**mine),
                golden,
                tuple(others),
                ask.answer.format(**mine),
                _expand(ask, mine),
            )
            if _clear(case, ask, mine):
                yield case
                break
