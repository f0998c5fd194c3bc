"""How judges spell a verdict: the whole value must be one of these, so that a denied verdict is none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_WHO = r"(?:답변|대답|응답|답안|답|모델|어시스턴트|answer|response|assistant|model|option|winner)"
_WINS = (
    r"(?:(?:이|가|의|쪽이)? ?(?:더 )?(?:우세|우수|승리|승|낫다|나음|좋다|좋음|이김|이겼다)(?:합니다|함|하다|했다|한다)?"
    r"|(?: is)? (?:better|wins|won|preferred|the winner))?"
)
_BOTH = (
    r"(?:a ?(?:와|과|,|&|및|and|=) ?b(?: 답변| 모두| 둘 ?다)*"
    r"|둘 ?다|양쪽(?: 모두| 다)?|(?:두 답변(?:이|은)? ?)?모두|both(?: a and b)?)"
)
_SAME = (
    r"(?:무승부|동점|동률|비김|비겼(?:다|음|습니다)|비긴다|막상막하"
    r"|우열 (?:없음|가리기 어려움|을 가리기 어려움|을 가릴 수 없음)|차이(?:가)? (?:없음|없다|없습니다)"
    r"|(?:동등|대등|동일|비슷|유사)(?:함|하다|합니다|해요)?|같음|같다|같습니다|똑같(?:음|다|습니다)"
    r"|(?:a )?(?:tie|draw)|tied|equal(?:ly)?(?: (?:good|matched|well))?|even|the same|same"
    r"|no (?:clear )?(?:winner|difference))"
)
_GOOD = (
    r"(?: ?(?:좋음|좋다|좋습니다|훌륭함|우수함|우수"
    r"|good|great|are good|(?:are )?equally good|are equal|are the same))?"
)
_END = r"(?:입니다|이다|임|이에요|예요|(?:으)?로 (?:판정|판단)(?:합니다|함|한다)?)?"
_SPELT = {
    "A": re.compile(rf"(?:{_WHO} ?:? ?)?a(?: ?{_WHO})?{_WINS}{_END}"),
    "B": re.compile(rf"(?:{_WHO} ?:? ?)?b(?: ?{_WHO})?{_WINS}{_END}"),
    "tie": re.compile(rf"(?:{_BOTH}(?:(?:가|이|은|는)? {_SAME}|{_GOOD})|{_SAME}){_END}"),
    "O": re.compile(rf"(?:o|○|◯|⭕|정답|맞음|맞다|correct|right){_END}"),
    "X": re.compile(rf"(?:x|×|✕|✗|✘|❌|오답|틀림|틀리다|틀렸다|incorrect|wrong){_END}"),
}
_PAIRS = ("[]", "()", "<>", '""', "''", "``", "**", "“”", "‘’", "「」")
_EXPLAINED = re.compile(r"([^()]+)\(([^()]+)\)")
_MT_BENCH = "[[C]]"  # the tie of MT-Bench's prompts; a bare C is nothing that our prompts offer


def spelt(value: str, allowed: Sequence[str]) -> str | None:
    """Return the allowed verdict that a value is a spelling of; None where it is none, or more than one."""
    text = unicodedata.normalize("NFKC", value).replace("\ufe0f", "")
    text = " ".join(text.split()).rstrip(".!。 ")
    if text.replace(" ", "") == _MT_BENCH:
        return "tie" if "tie" in allowed else None
    while len(text) > 2 and text[0] + text[-1] in _PAIRS:
        text = text[1:-1].strip()
    if pair := _EXPLAINED.fullmatch(text):  # `무승부 (tie)`: both must say the same
        said = {spelt(part, allowed) for part in pair.groups()}
        return said.pop() if len(said) == 1 else None
    found = [name for name in allowed if name in _SPELT and _SPELT[name].fullmatch(text.casefold())]
    return found[0] if len(found) == 1 else None
