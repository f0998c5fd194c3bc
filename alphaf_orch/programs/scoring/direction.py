"""What the words around a figure say of it: a fall, a loss, a shortfall, or that there was none."""

from __future__ import annotations

import re

from alphaf_orch.programs.scoring.grammar import APPROXIMATE, DENIALS, FALLS, LOSSES, RELIEFS, RISES, SHORTFALLS

_WINDOW = 60  # characters of the same sentence that are looked at on either side
_SENTENCE_END = re.compile(r"[!?。;\n]|\.(?!\d)")
# 로 감소 and 에서 감소 name where a fall ends and begins, not how deep it is; 12.5%인데 is a sentence of its own.
_OWN = (
    rf"[)\]]*+ ?+(?:(?:{APPROXIMATE}|이하|미만|초과|이내) ?){{0,3}}+(?!(?:으?로|까지|에서|부터|보다|대비)(?![가-힣]))"
    r"(?:이?라는|에 (?:달하는|이르는|가까운|육박하는|해당하는)|[이가을를의은는도씩])? ?"
    r"(?:, ?(?:즉|곧|금액으로는?) [\d.,]+ ?[가-힣%]{0,4} ?)?"
)
# Adverbs and nouns before the word, none of them a new subject, a new figure or the end of a clause.
_GAP = r"(?:\([^()]{0,30}\) ?)?(?:(?!\S*(?:[은는이가,]|[고며]|(?<!에)서|지만|으나|는데) )[^\s\d.,()|]{1,8} ){0,3}?"
_AFTER = re.compile(rf"{_OWN}{_GAP}[가-힣]{{0,6}}?(?P<word>(?P<loss>{LOSSES})|{SHORTFALLS}|{FALLS})")
_TO_LOSS = re.compile(rf"(?:으로|로|의)? ?{_GAP}[가-힣]{{0,4}}?(?P<word>(?P<loss>{LOSSES}))")
_RISE_AFTER = re.compile(rf"{_OWN}{_GAP}(?:{RISES})")
# A loss that shrinks: 적자가 30억원 줄었다.
_SHRINKS = re.compile(rf"{_OWN}{_GAP}(?:{FALLS}|{RELIEFS})")
# 영업손실은 약 30억원, 감소율 12.5%, 부족액: 141억원, 적자는 전년보다 커진 30억원.
_NOUN = rf"(?:(?P<loss>{LOSSES})|부족|미달|감소|하락|축소|급락|인하|하회|역성장|마이너스)"
_SUBJECT = re.compile(
    rf"{_NOUN} ?(?P<kind>액|률|율|폭|규모|분|금액|금|치|수준|세)?(?:\([^()]{{0,12}}\))?(?:은|는|이|가"
    rf"|을|를|도|으로|로)? ?[:=|(]* ?(?P<gap>[^:|]{{0,25}})"
)
# Where a new clause begins, or a new figure that is no date and no start of a path (2023년, 10억원에서).
_NEW_CLAUSE = re.compile(
    r"(?:[고며서져여어해아니라]|지만|으나|는데|대신|없이?|아니) |, ?(?!\d{3})|[고며]$"
    r"|\d(?! ?(?:년|월|분기|일|차|개|에서|분의|억|조|[\d,.]))"
)
_RELIEVED = re.compile(rf"[을를이가에서도의 ]{{0,3}}(?:[가-힣]{{1,4}} ){{0,2}}(?:{RELIEFS}|줄|축소|감소)")
# 손실을 피하지 못했다: the loss came.
_UNRELIEVED = re.compile(rf"(?:{RELIEFS})[가-힣]{{0,3}}?[지치](?:는|도)? ?[못않]")
_DENIED = re.compile(DENIALS)


def falls(text: str, start: int, end: int) -> bool:
    """Return whether the figure at that place of a normalised text is said to be a fall, a loss or a shortfall.

    A loss that shrinks (적자가 30억원 줄었다) or is made good (손실 30억원을 만회) is none, nor is one that is denied
    (손실을 내지 않았다); 12.5%로 감소 says where a fall ended.
    """
    after = _clause(text[end : end + _WINDOW])
    before = text[max(0, start - _WINDOW) : start]
    breaks = [found.end() for found in _SENTENCE_END.finditer(before)]
    subject = _subject(before[breaks[-1] :] if breaks else before)
    found = _AFTER.match(after) or _TO_LOSS.match(after)
    if subject and (subject["loss"] or subject["kind"] in ("폭", "률", "율")) and _SHRINKS.match(after):
        return False
    if found:
        return not _taken_back(after[found.start("word") :])
    return subject is not None and not _taken_back(after)


def rises(text: str, end: int) -> bool:
    """Return whether the words behind a figure say that it rises: ▲3.2% 상승 is no minus."""
    return bool(_RISE_AFTER.match(_clause(text[end : end + _WINDOW])))


def _clause(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text


def _subject(before: str) -> re.Match[str] | None:
    """Return the last loss or fall before a figure that the figure may be the size of."""
    for place in reversed([found.start() for found in re.finditer(_NOUN, before)]):
        found = _SUBJECT.fullmatch(before, place)
        if found and not _NEW_CLAUSE.search(found["gap"]):
            return found
    return None


def _taken_back(words: str) -> bool:
    """Whether the fall or loss that the words begin with is denied, or the loss made smaller, in the same clause."""
    if _UNRELIEVED.search(words[:25]):
        return False
    if _DENIED.search(words[:25]):
        return True
    loss = re.match(LOSSES, words)
    return bool(loss and _RELIEVED.match(words, loss.end()))
