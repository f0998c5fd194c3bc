"""Answers that cite numbered sources: is the form kept, is the right source named, is the content there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from alphaf_orch.programs.scoring.text import cleaned

_WELL_FORMED = re.compile(r"\[[0-9]{1,2}\]")
_RUN = re.compile(r"(?:\[[0-9]{1,2}\][ \t]*)+")
# `[1] text` at the start of a line numbers a source, as the prompt does; `[1]에 따르면` is a phrase.
_LIST_MARKER = re.compile(
    r"[ \t>*-]*(?:\[[0-9]{1,2}\][ \t]*)*\[[0-9]{1,2}\]"
    r"(?:[ \t:]+(?=[^\s:.,!?。\[])|(?=[^\s:.,!?。\[])(?!에|의|[은는이가을를와과로]\s|번|처럼|까지))"
)
_NEXT_MARKER = re.compile(r"(?<=[.!?。])\s*\[[0-9]{1,2}\][ \t:]*(?=[^\s\[.,])")
_LABEL = r"(?:출처|문서|자료|근거|참고|번호|문맥|인용|source|document|doc|context|ref)"
_NUMBER = rf"{_LABEL}?\s*[:：#^]?\s*\d{{1,2}}"
_NUMBERS = rf"{_NUMBER}(?:\s*(?:[,，、·~～/-]|및|와|과)\s*{_NUMBER})*"
# Whatever means to cite, in any bracket; a round one needs a label or the end of a sentence.
_ATTEMPT = re.compile(
    rf"[\[［]+\s*(?:{_NUMBERS}|{_LABEL})\s*[\]］]+|[【〔「《〈<]\s*{_NUMBERS}\s*[】〕」》〉>]"
    rf"|[(（]\s*{_LABEL}\s*[:：#]?\s*{_NUMBERS}\s*[)）]|[(（]\s*\d\s*[)）](?=\s*(?:[.!?。]|$))",
    re.IGNORECASE,
)
_STOPS = ".!?。"
_MINUS = "−"  # a sign, as against the hyphen of 3-5년
_PART = re.compile(r"(\d{1,2})\s*[~-]\s*(\d{1,2})|(\d{1,2})")


def citation_format(answer: str, contexts: int) -> int:
    """Return 1 if the answer cites in the form that was asked for: `statement [1].`

    At least one citation stands at the end of a sentence, behind its words and in front of its full stop, or behind
    the stop at the end of a line; and every citation of the answer is well formed, one half-width number in
    half-width square brackets ([1][2] are two), and names one of the contexts, 1 to `contexts`. A line that starts
    with `[1] ` like an entry of a list holds no citation there, so a copy of the contexts scores 0.
    """
    lines = _lines(answer)
    written = [attempt for line in lines for attempt in _ATTEMPT.findall(line)]
    if not all(_WELL_FORMED.fullmatch(attempt) and 1 <= int(attempt[1:-1]) <= contexts for attempt in written):
        return 0
    return int(any(_ends_a_sentence(line) for line in lines))


def cited(answer: str) -> set[int]:
    """Return the numbers the answer cites in any form: ［1］, 【1】, [1, 2], [1-3], [문서 1] and (출처: 1) count."""
    found: set[int] = set()
    for line in _lines(answer):
        for attempt in _ATTEMPT.findall(line):
            for first, last, single in _PART.findall(unicodedata.normalize("NFKC", attempt)):
                found.update([int(single)] if single else range(int(first), int(last) + 1))
    return found


def citation_precision(answer: str, golden: int) -> float:
    """Return which share of the sources cited (each counted once) is the golden one; 0 where none is cited."""
    numbers = cited(answer)
    return int(golden in numbers) / len(numbers) if numbers else 0.0


def citation_recall(answer: str, golden: int) -> int:
    """Return 1 if the golden source is cited."""
    return int(golden in cited(answer))


def containment(answer: str, keywords: Sequence[Sequence[str]]) -> int:
    """Return 1 if of every group of alternatives one stands in the answer; without any group it is 0.

    Compared are NFKC texts without case, white space, thousands commas and citations. A number has to stand alone:
    5% is not in 15%, 5%p or -5%, and 2,000만 is not in 3억 2,000만.
    """
    said = _folded(_ATTEMPT.sub(" ", "\n".join(_lines(answer))))
    return int(bool(keywords) and all(any(_stands_in(_folded(word), said) for word in group) for group in keywords))


def _lines(answer: str) -> list[str]:
    """Return the answer's lines without the numbers that open an entry of a list."""
    lines = []
    for line in cleaned(answer).splitlines():
        marker = _LIST_MARKER.match(line)
        # A list on one line, `[1] … . [2] …`, goes on with markers behind full stops.
        lines.append(_NEXT_MARKER.sub(" ", line[marker.end() :]) if marker else line)
    return lines


def _ends_a_sentence(line: str) -> bool:
    return any(_closes(line[: run.start()].rstrip(), line[run.end() :].lstrip()) for run in _RUN.finditer(line))


def _closes(before: str, after: str) -> bool:
    words = any(character.isalnum() for character in _ATTEMPT.sub("", before))
    if not after:
        return words
    return words and re.match(rf"[{_STOPS}]+(?:\s|$)", after) is not None


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold().translate(str.maketrans("−–", "--"))
    text = re.sub(r"(?:[△▲▼]\s?|(?:^|(?<=[^\w%)\]]))-)(?=\d)", _MINUS, text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)  # 2024 12 stays two numbers


def _stands_in(word: str, text: str) -> bool:
    return bool(word) and any(
        _alone(word, text[: found.start()], text[found.start() + len(word) :]) for found in _places(word, text)
    )


def _places(word: str, text: str) -> Iterator[re.Match[str]]:
    return re.finditer(f"(?={re.escape(word)})", text)


def _alone(word: str, before: str, after: str) -> bool:
    """Whether a word found in a text is not the inside of a longer number, amount or Latin word."""
    if word[0].isdigit() and re.search(rf"\d[십백천만억조경]?$|\d[.,]$|{_MINUS}$", before):
        return False
    if word[-1].isdigit() and re.match(r"\d|[.,]\d|[십백천만억조경]", after):
        return False
    if re.search(r"\d[십백천만억조경]$", word) and re.match(r"\d|[십백천만억조경]", after):
        return False
    if word[-1] == "%" and re.match(r"p|포인트", after):
        return False
    inside = re.search(r"[a-z]$", before) and re.match(r"[a-z]", word)
    goes_on = re.match(r"[a-z]", after) and re.search(r"[a-z]$", word)
    return not (inside or goes_on)
