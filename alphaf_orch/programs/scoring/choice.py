"""The option of a multiple-choice question that an answer in words names, and how many options there are."""

from __future__ import annotations

import re
import unicodedata

_LINE_OPTION = re.compile(r"^[ \t]*[(\[]?(?:(\d{1,2})[).\]](?!\d)|([①-⑳]))", re.MULTILINE)
_INLINE_OPTION = re.compile(r"(?:^|(?<=\s))[(\[]?(?:(\d{1,2})[).\]](?!\d)|([①-⑳]))", re.MULTILINE)
# One number, or several that are named together (1번과 3번): the latter is no answer.
_GIVEN = r"[\s*\"'(\[]*(\d+(?:\s*번)?(?:\s*(?:,|와|과|및|또는|이나|나|/|·)\s*\d+(?:\s*번)?)*)"
_ONLY = re.compile(_GIVEN + r"\s*[)\].]?\s*(?:입니다|이다|임|이에요|예요)?[\s*\"'.)\]]*")
_CUE = re.compile(
    r"(?:정답|답변|답|answer)\s*(?:번호)?\s*(?:은|는|이|is)?\s*:?" + _GIVEN + r"(?![\d,.]*\d)", re.IGNORECASE
)
_LEADING = re.compile(_GIVEN + r"\s*(?:[)\].](?!\d)|(?<=번)(?:입니다|이다|[.:\n]))")
_NUMBERED = re.compile(r"(?<![\d.,])(\d+)\s*번(?!째)")


def option_count(prompt: str) -> int:
    """Return how many options the prompt numbers: the last run 1, 2, 3, ... of numbered lines; 0 without one."""
    for pattern in (_LINE_OPTION, _INLINE_OPTION):
        run = count = 0
        for match in pattern.finditer(prompt):
            number = int(match[1] or unicodedata.normalize("NFKC", match[2]))
            run = number if number in (1, run + 1) else 0
            count = run if run > 1 else count
        if count:
            return count
    return 0


def chosen_option(answer: str, options: int) -> int | None:
    """Return the option number that an answer gives, None where it gives none, or more than one.

    Looked for in this order: a first line of nothing but a number, the first `정답: 3`, a number that the answer
    begins with, the only `3번`. A number above the count of options is no answer; other numbers (2020년, 3.5%) are
    not looked at.
    """
    text = unicodedata.normalize("NFKC", answer).strip()
    for match in (_ONLY.fullmatch(text.split("\n")[0]), _CUE.search(text), _LEADING.match(text)):
        if match:
            numbers = re.findall(r"\d+", match[1])
            break
    else:
        numbers = sorted(set(_NUMBERED.findall(text)))
    if len(numbers) != 1 or not 1 <= int(numbers[0]) <= options:
        return None
    return int(numbers[0])
