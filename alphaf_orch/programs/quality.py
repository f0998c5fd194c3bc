"""What is wrong with the text of a row beyond its form: decomposed Hangul, lost and misread characters, controls."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

Sign = Literal["nfd", "replaced", "mojibake", "control"]

# Ours: where more than every second row is damaged, damage is what the model learns to write.
DAMAGED_SHARE = 0.5
_DAMAGE: dict[Sign, str] = {
    "replaced": "with U+FFFD for lost characters",
    "mojibake": "read in a wrong encoding",
}
# What a text of ASCII and Hangul syllables is made of in UTF-8; it needs no further look. The syllables begin with the
# bytes EA to ED, and 80 to BF only go on with a character.
ORDINARY = bytes((*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xEA, 0xEE)))

# A leading and a vowel jamo of modern Hangul (Unicode 3.12: they compose to one syllable), as macOS writes them.
_NFD = re.compile("[\u1100-\u1112][\u1161-\u1175]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# What the bytes 80 to BF become where UTF-8 is read as Latin-1, or as Windows-1252.
_REST = "[\x80-\xbf" + re.escape(bytes(range(0x80, 0xA0)).decode("cp1252", errors="ignore")) + "]"
# Quotes, dashes and blanks that may stand behind an accented letter (así…”), and look like the rest of one misread.
_MEANT = "[\xa0\xab\xb7\xbb\u2013\u2014\u2018-\u201d\u2026\u2039\u203a]"
_MISREAD = re.compile(
    # Read as Latin-1 or Windows-1252: quotes and dashes (E2 80 ..), accented letters, Hangul.
    f"\xe2[\x80\u20ac]{_REST}|[\xc2\xc3](?!{_MEANT}){_REST}|[\xea-\xed](?!{_MEANT}{{2}}){_REST}{{2}}|\xc3\u0192"
    # Three syllables of CP949 (EUC-KR) read as Latin-1: the lead bytes B0 to C8, then A1 to FE.
    "|(?:[\xb0-\xc8][\xa1-\xfe] ?){3}"
)
_LOST = "占쏙옙"  # twice the replacement character in UTF-8, read as CP949
_HANJA = re.compile(b"[\xe5-\xe9\xef]")  # what UTF-8 read as CP949 holds too, or the replacement character
_HARMLESS = b"\xe2\xe3\xe4\xf0"  # quotes, kana, rare Hanja, emoji: no sign begins with these bytes
_SYLLABLES = re.compile("[가-힣]+")
# UTF-8 read as CP949 is made of syllables that are not in KS X 1001, of which Korean text has next to none
# (ours: 3 of them, and a quarter of all syllables; measured on misread sentences: nine tenths).
_RARE, _RARE_SHARE = 3, 0.25
# White space and controls, what Unicode calls default ignorable, and the blanks and fillers that show nothing.
_INVISIBLE = re.compile(
    "[\\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]*"
)


def invisible(text: str) -> bool:
    """Return whether nothing of a text can be seen: white space, zero-width characters, fillers, controls."""
    return _INVISIBLE.fullmatch(text) is not None


def unusual(encoded: bytes) -> bytes:
    """Return what is left of a text in UTF-8 without ASCII and Hangul: of each other character the first byte."""
    return encoded.translate(None, ORDINARY)


def signs(text: str, left: bytes | None = None) -> tuple[Sign, ...]:
    """Return what is wrong with a text: `nfd` decomposed Hangul, `replaced` U+FFFD, `mojibake`, `control` characters.

    `left` is what `unusual` found of it, so that only what may be there is looked for.
    """
    left = (unusual(text.encode()) if left is None else left).translate(None, _HARMLESS)
    if not left:
        return ()
    found: list[Sign] = []
    if 0xE1 in left and _NFD.search(text):
        found.append("nfd")
    if 0xEF in left and "\ufffd" in text:
        found.append("replaced")
    if (0xC3 in left and _MISREAD.search(text)) or (_HANJA.search(left) and (_LOST in text or _rare(text))):
        found.append("mojibake")
    if (0xC2 in left or min(left) < 0x80) and _CONTROL.search(text):
        found.append("control")
    return tuple(found)


def _rare(text: str) -> bool:
    syllables = "".join(_SYLLABLES.findall(text))
    # Python's EUC-KR writes a syllable of KS X 1001 in 2 bytes and any other in 8 (its annex 3).
    rare = (len(syllables.encode("euc_kr")) - 2 * len(syllables)) // 6
    return rare >= _RARE and rare > _RARE_SHARE * len(syllables)


class Quality:
    """How many rows have which sign; guarantees the same counts however the rows are parted."""

    def __init__(self) -> None:
        self.counts: Counter[Sign] = Counter()
        self.damaged = 0

    def add(self, text: str, left: bytes | None = None) -> None:
        """Count a row by all of its text; `left` as in signs."""
        found = signs(text, left)
        self.counts.update(found)
        self.damaged += "replaced" in found or "mojibake" in found

    def extend(self, other: Quality) -> None:
        """Add what was counted of other rows."""
        self.counts += other.counts
        self.damaged += other.damaged

    def worst(self, rows: int) -> str | None:
        """Return why nothing is to be learnt from texts so damaged, or None where they are not."""
        if self.damaged <= DAMAGED_SHARE * rows:
            return None
        said = ", ".join(f"{self.counts[sign]:,} {what}" for sign, what in _DAMAGE.items() if self.counts[sign])
        return f"{self.damaged:,} of {rows:,} rows are damaged text ({said}): the model would learn to write it"
