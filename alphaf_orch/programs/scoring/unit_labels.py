"""Labels that name a unit and hold no amount: 매출액(백만원), (단위: 억원, %), 백만원 단위, 천원 기준."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from alphaf_orch.programs.scoring.grammar import BIG, ENGLISH, LABEL, SMALL, UNIT, UNIT_WORDS

_LIST = rf"{LABEL}(?: ?[,·/] ?{LABEL})*"
# (주) is 주식회사 and (일) a Sunday: alone in brackets they need the word 단위.
_BRACKET = re.compile(
    rf"[(\[] ?(?P<caption>(?:금액 ?)?단위 ?[:는은]? ?)?(?P<units>{_LIST})(?: ?(?:기준|단위))? ?[)\]]", re.IGNORECASE
)
_WORDS = re.compile(
    rf"단위 ?(?:[:=]|는|은)? ?(?P<units>{_LIST})(?![가-힣])(?! ?[\d(])|단위(?:는|:) ?(?P<said>{LABEL})(?=입|이)"
    rf"|(?<![\w.,])(?P<behind>{LABEL}) (?:단위|기준)(?:로|으로|입|이|의|,| (?=\d)|$)",
    re.IGNORECASE | re.MULTILINE,
)
_NO_LABEL = ("주", "일", "회", "천", "만", "백", "십", "조")
_SCALE = re.compile(r"[십백천만억조]|[a-z]{2,8}(?= )", re.IGNORECASE)


@dataclass(frozen=True)
class Label:
    """Units by name, each with its factor (백만원 is 원, 1,000,000), and where the label stands."""

    units: dict[str, Decimal]
    start: int
    end: int
    caption: bool  # 단위: it holds for the whole table or text


def unit_labels(text: str) -> list[Label]:
    """Return the labels of a normalised text in their order."""
    labels = []
    for found in _BRACKET.finditer(text):
        if found["caption"] or found["units"].strip() not in _NO_LABEL:
            labels.append(_label(found["units"], found, caption=bool(found["caption"])))
    inside = [(label.start, label.end) for label in labels]
    for found in _WORDS.finditer(text):
        if not any(start <= found.start() < end for start, end in inside):
            labels.append(_label(found["units"] or found["said"] or found["behind"], found, caption=True))
    return sorted(labels, key=lambda label: label.start)


def _label(units: str, found: re.Match[str], *, caption: bool) -> Label:
    named = dict(_unit(word.strip()) for word in reversed(re.split(r"[,·/]", units)))
    return Label(named, found.start(), found.end(), caption)


def _unit(word: str) -> tuple[str, Decimal]:
    """Return unit and factor: 십억원 is 10 times 10^8 원; 백만 alone is 1,000,000 원."""
    factor, end = Decimal(1), 0
    for scale in _SCALE.finditer(word):
        size = {**SMALL, **BIG, **ENGLISH}.get(scale[0].casefold().removesuffix("s"))
        if size is None or scale.start() > end + 1:
            break
        factor, end = factor * size, scale.end()
    rest = UNIT.match(word, end)
    name = UNIT_WORDS[int(str(rest.lastgroup)[1:])][0] if rest else "원"
    return name, factor
