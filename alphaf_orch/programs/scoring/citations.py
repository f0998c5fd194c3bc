"""Answers that cite numbered sources: is the form kept, is the right source named, is the content there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from alphaf_orch.programs.scoring.markup import plain
from alphaf_orch.programs.scoring.text import cleaned

_WELL_FORMED = re.compile(r"\[[0-9]{1,2}\]")
_RUN = re.compile(r"(?:\[[0-9]{1,2}\][ \t]*)+")
# `[1] text` at the start of a line numbers a source, as the prompt does; `[1]에 따르면` is a phrase.
_LIST_MARKER = re.compile(
    r"[ \t>*-]*(?:\[[0-9]{1,2}\][ \t]*)*\[[0-9]{1,2}\]"
    r"(?:[ \t:]+(?=[^\s:.,!?。\[])|(?=[^\s:.,!?。\[])(?!에|의|[은는이가을를와과로]\s|번|처럼|까지))"
)
_NEXT_MARKER = re.compile(r"(?<=[.!?。])\s*\[[0-9]{1,2}\][ \t:]*(?=[^\s\[.,])")
# What a model calls a source when it does not write the bare number.
_LABEL = (
    r"(?:출처|문서|자료|근거|참고(?: ?(?:문헌|자료|문서))?|번호|참조|문맥|인용|각주|본문|지문|문단|발췌|컨텍스트"
    r"|sources?|documents?|docs?|context|passage|ref(?:erence)?s?|cit(?:e|ation)s?|chunk|no\.?|№)"
)
_ORDINAL = r"(?:첫|두|세|네|다섯|여섯|일곱|여덟|아홉|열) ?번째"
_ROMAN = r"(?:I{1,3}|IV|VI{0,3}|IX|X)"
_DIGITS = r"(?:\d{1,2}|[①-⑳❶-❿Ⅰ-Ⅹ]|[一二三四五六七八九十])"
_NUMBER = (
    rf"(?:제? ?{_DIGITS} ?(?:번(?:째)?)?(?: ?{_LABEL})?|{_ORDINAL}(?: ?{_LABEL})?"
    rf"|{_LABEL} ?(?:번호)? ?[:：#^._-]? ?(?:{_DIGITS}|{_ROMAN}) ?(?:번)?|[#^†№] ?{_DIGITS}\^?"
    r"|(?-i:I{1,3}|IV|VI{1,3}|IX)(?=[\]］]))"
)
_NUMBERS = rf"{_NUMBER}(?: ?(?:[,，、;·&+/~∼〜～–—-]|및|와|과|and) ?{_NUMBER})*"
_TAIL = r"(?:[.,](?= ?[\]］])| ?(?:참조|참고|에서 인용|[†:][^\[\]【】()\n]{0,40}))?"
_OPEN, _CLOSE = r"[\[［【〔〖「『《〈<{⟦❲«]", r"[\]］】〕〗」』》〉>}⟧❳»]"
# Whatever means to cite, in any bracket; a round one needs a label, 번 or the end of a sentence.
_ATTEMPT = re.compile(
    rf"[\[［]{{1,3}} ?(?:{_NUMBERS}|{_LABEL}){_TAIL} ?[\]］]{{1,3}}번?|{_OPEN} ?{_NUMBERS}{_TAIL} ?{_CLOSE}"
    rf"|[(（] ?{_LABEL} ?[:：#]? ?[\[［【]?{_NUMBERS}[\]］】]?{_TAIL} ?[)）]"
    rf"|[(（] ?(?:\d{{1,2}} ?번|[①-⑳❶-❿])(?: ?{_LABEL})?{_TAIL} ?[)）]"
    rf"|[(（] ?{_LABEL} ?[)）](?= ?(?:[.!?。]|$))|[(（] ?\d(?: ?[,~-] ?\d)* ?[)）](?= ?(?:[.!?。]|$))"
    r"|[⑴-⑽](?= ?(?:[.!?。]|$))|(?<=[가-힣.!?。%) ])[①-⑳❶-❿](?= ?(?:[.!?。]"
    r"|$))|(?<=[가-힣.!?。%])[⁰¹²³⁴-⁹]{1,2}(?![가-힣\w])"
    rf"|\\cite[pt]?\{{\d{{1,2}}\}}|(?:출처|근거|참고 ?(?:자료|문서)?) ?[:：] ?{_NUMBERS}(?= ?(?:[.!?。](?!\d)|\)|$))",
    re.IGNORECASE | re.MULTILINE,
)
# Quotation marks and brackets may close behind the stop; a cell of a table ends at its bar.
_SENTENCE_END = re.compile(r"\s*[.!?。…]+[\"'”’」』)\]]*(?:\s|\||$)|\s*[\"'”’」』]?\s*(?:\||$)")
_MINUS = "−"  # a sign, as against the hyphen of 3-5년
_PART = re.compile(r"(\d{1,2}) ?(?:번|번째)? ?[~∼〜–—-] ?(\d{1,2})|(\d{1,2})")
_WORDS = {"첫": 1, "두": 2, "세": 3, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10}
_CHINESE = "一二三四五六七八九十"
_NAMED = re.compile(
    rf"(?P<word>{'|'.join(_WORDS)}) ?번째|(?P<chinese>[{_CHINESE}])|(?P<roman>\b[IVX]{{1,4}}\b)|(?P<sign>[❶-❿Ⅰ-Ⅹ])"
)
_ROMANS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")


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
            found |= _named(attempt)
    return found


def _named(attempt: str) -> set[int]:
    found: set[int] = set()
    for first, last, single in _PART.findall(unicodedata.normalize("NFKC", attempt)):
        found.update([int(single)] if single else range(int(first), int(last) + 1))
    for name in _NAMED.finditer(attempt):
        if name["word"]:
            found.add(_WORDS[name["word"]])
        elif name["roman"]:
            found.update([_ROMANS.index(name["roman"]) + 1] if name["roman"] in _ROMANS else [])
        else:
            found.add(_CHINESE.index(name[0]) + 1 if name["chinese"] else int(unicodedata.numeric(name[0])))
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
    # Superscripts keep the form: `입니다^[2]^.`, `입니다$^{[2]}$.`
    text = re.sub(r"\^\{?(\[\d{1,2}\])[}^]?", r"\1", plain(cleaned(answer)))
    for line in text.splitlines():
        marker = _LIST_MARKER.match(line)
        # A list on one line, `[1] … . [2] …`, goes on with markers behind full stops.
        lines.append(_NEXT_MARKER.sub(" ", line[marker.end() :]) if marker else line)
    return lines


def _ends_a_sentence(line: str) -> bool:
    blank = _ATTEMPT.sub(lambda attempt: " " * len(attempt[0]), line)
    words = next((place for place, character in enumerate(blank) if character.isalnum()), len(line))
    return any(run.start() > words and _SENTENCE_END.match(line, run.end()) for run in _RUN.finditer(line))


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold().translate(str.maketrans("−–", "--"))
    text = re.sub(r"(?:[△▲▼]\s?|(?:^|(?<=[^\w%)\]]))-)(?=\d)", _MINUS, text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)  # 2024 12 stays two numbers


def _stands_in(word: str, text: str) -> bool:
    return bool(word) and any(
        _alone(word, text[max(0, start - 8) : start], text[start + len(word) : start + len(word) + 8])
        for start in _places(word, text)
    )


def _places(word: str, text: str) -> Iterator[int]:
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + 1)


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
