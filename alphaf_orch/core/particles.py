"""The particle behind a value in a Korean text: texts have both forms, `{name}을(를)`, and its reading decides.

Single letters, short capitals and words without a vowel are read by the names of the letters (sft, 에스에프티), others
as Korean writes them (optimizer, 옵티마이저). Where that differs from word to word (step, set) both forms stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_FORMS = {  # behind a consonant, and behind a vowel
    "을(를)": ("을", "를"),
    "이(가)": ("이", "가"),
    "은(는)": ("은", "는"),
    "과(와)": ("과", "와"),
    "와(과)": ("과", "와"),
    "(으)로": ("으로", "로"),
    "(이)": ("이", ""),
}
_BEHIND = re.compile(r"\{(\w+)\}([`'\"\]]?)(" + "|".join(map(re.escape, _FORMS)) + ")")
_BY_NAMES = re.compile(r"[A-Za-z]|[A-Z]{2,3}|.iB|[^aeiouyAEIOUY]+")
# What the last syllable ends in by the last letters, the first that fit: a vowel (""), ㄹ, another consonant (ㅁ).
_NUMBERS = (("[2459]", ""), ("[178]", "ㄹ"), ("[036]", "ㅁ"))
_NAMES = (("[lr]", "ㄹ"), ("[mn]", "ㅁ"), ("", ""))
_WORDS = (("le?", "ㄹ"), ("[mn]e?|ng|ic|template", "ㅁ"), ("[aeiouy][bckpt]|ck|pe", "?"), ("", ""))


def with_particles(said: str, values: Mapping[str, str]) -> str:
    """Return a template with the right particle behind each value; with both where the reading is not known."""

    def chosen(found: re.Match[str]) -> str:
        consonant, vowel = _FORMS[found[3]]
        end = _end(values[found[1]].rstrip("`'\"]"))
        open_syllable = not end or (end == "ㄹ" and vowel == "로")
        return f"{{{found[1]}}}{found[2]}{found[3] if end == '?' else vowel if open_syllable else consonant}"

    return _BEHIND.sub(chosen, said)


def _end(value: str) -> str:
    """Return what the last syllable ends in: "" for a vowel, ㄹ, ㅁ for another consonant, ? where it is not known."""
    if "가" <= value[-1:] <= "힣":
        return {0: "", 8: "ㄹ"}.get((ord(value[-1]) - ord("가")) % 28, "ㅁ")
    word = re.split(r"[^A-Za-z]", value)[-1]
    known = _NUMBERS if not word else _NAMES if _BY_NAMES.fullmatch(word) else _WORDS
    return next((end for last, end in known if re.search(f"(?:{last})$", value.lower())), "?")
