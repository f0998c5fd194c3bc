"""Does an answer leave Korean without a reason? Scripts by Unicode, clauses by their words, the rest by py3langid."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

from alphaf_orch.programs.scoring.markup import plain
from alphaf_orch.programs.scoring.text import cleaned

_LANGUAGES = ("ko", "en", "zh", "ja", "vi", "id", "es", "fr", "de", "ru", "th")
_NO_PROSE = re.compile(r"https?://\S+|www\.\S+|(?<!\S)\S{1,64}@\S{1,200}\.\w+|</?[a-z][^<>]{0,30}>|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]+(?:['’&/.-][A-Za-z\u00c0-\u024f\u1e00-\u1eff]+)*")
_HANGUL = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]")
_HAN = re.compile(r"[\u2e80-\u2fdf\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_HAN_GLOSS = re.compile(rf"(?<=[가-힣])\s?\((?:{_HAN.pattern}|[\s·,])+\)")
_LATIN_GLOSS = re.compile(r"(?<=[가-힣A-Z])\s?\(([A-Za-z][^()가-힣]{0,90})\)")
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+")
# Newspapers write these among Hangul. Countries stand alone or in a row (韓美日), behind a prefix (對美, 訪中) and
# before a suffix (美軍); the Korean forms only: 韩, 国 and 対 are of other languages.
_COUNTRIES = "美中日韓英獨佛露伊印北南歐濠豪加臺越泰比蘇墺亞"
_PREFIXES = "前新現故舊元對反親脫超非無未再準副總最在駐訪抗知後來昨今每同當本初約諸各半多主大小高低純約"
_SUFFIXES = (
    "社年月日株銀黨軍檢警市道郡區氏者家派系式性發行産製版外間代位次回件名人億"
    "兆萬千百弗倍割號順戰展核企證債稅額率價末初中上下內前後金圈"
)
# Alone only: parties, halls and the families of politicians (與, 靑, 尹 대통령).
_ALONE = "與野靑黨軍檢法銀證株年月金李朴尹文崔鄭趙姜張吳洪安柳全盧男女老少父母子妻夫甲乙丙丁等及或經財"
_NEWS_HAN = re.compile(
    rf"[{_COUNTRIES}]{{1,4}}|[{_PREFIXES}]|[{_PREFIXES}]?[{_COUNTRIES}]{{1,2}}[{_SUFFIXES}]?|[{_PREFIXES}][{_SUFFIXES}]?|[{_SUFFIXES}]|[年月日]末|[年月][初中末間]"
    rf"|[{_ALONE}]|與野|父子|母子|男女|老少|北核|北美|南北|韓流|外人|個人|機關"
)
_FIRM = re.compile(r"(?<=[A-Z])社")  # A社, as names of firms are hidden
_HAN_SHARE = 3  # Chinese characters that one Hangul syllable bears: 韓·美·日 공조
# Units, and the small words inside names: Bank of Korea.
_PLAIN_WORD = re.compile(
    "bps?|pp|won|krw|usd|eur|jpy|yoy|qoq|mom|ebitda|an?|and|or|of|on|in|to|for|per|by|at|vs|as|de|la"
)
# Words of sentences: a name or a term of finance has none of them.
_CLAUSE_WORD = re.compile(
    "the|this|that|these|those|it|its|is|are|was|were|be|been|am|i'm|you|your|we|our|they|their|he|she|his|her|not"
    "|can|cannot|can't|could|will|would|should|may|might|must|has|have|had|do|does|did|don't|doesn't|isn't|if|when"
    "|while|because|which|who|what|how|why|there|here|with|from|than|then|please|yes|thank|thanks|sorry|hello"
)
_SURE = 0.95
_SYLLABLE = 2  # Latin letters that one Hangul syllable is worth


def wrong_language(answer: str, prompt: str = "") -> int:
    """Return 1 if the answer leaves Korean without a reason; one without letters ("12.4%", or nothing) does not.

    Reasons are: the word or the Chinese characters stand in the prompt; an abbreviation or ticker (two capitals or
    more: ETF, KOSPI, S&P 500); a unit (bp); a URL; Chinese characters in parentheses behind their Hangul, or one
    that newspapers use alone (美). Without a reason wrong are: any kana or letter of another script but Hangul, Latin
    and single Greek letters; Chinese characters in running text; prose of Latin words, as a sentence, inside
    one or in a mixture that is less than half Hangul; and an answer without Hangul that is more than a name, by its
    small letters or to py3langid.
    """
    text = _NO_PROSE.sub(" ", unicodedata.normalize("NFKC", plain(cleaned(answer))))
    prompt = unicodedata.normalize("NFKC", prompt)
    if _other_script(text, prompt) or _running_han(_HAN_GLOSS.sub("", text), prompt):
        return 1
    known = {part for word in _WORD.findall(prompt) for part in (word.casefold(), *_parts(word))}
    text = _LATIN_GLOSS.sub(lambda gloss: gloss[0] if _has_clause_word(_WORD.findall(gloss[1]), known) else "", text)
    if any(_is_foreign(piece, known) for piece in _SENTENCE_END.split(text)):
        return 1
    return int(_has_no_korean(text, known))


def _parts(word: str) -> list[str]:
    return re.split(r"[&/.-]", word.casefold())


def _other_script(text: str, prompt: str) -> bool:
    greek = 0
    for character in text:
        if not character.isalpha() or _HAN.match(character):
            greek = 0
            continue
        script = unicodedata.name(character, "UNKNOWN").split()[0]
        greek = greek + 1 if script == "GREEK" else 0
        strange = greek > 2 or script not in ("HANGUL", "LATIN", "GREEK", "FEMININE", "MASCULINE", "SCRIPT", "MODIFIER")
        if strange and character not in prompt:
            return True
    return False


def _running_han(text: str, prompt: str) -> bool:
    """Whether Chinese characters are more than those that Korean newspapers write among Hangul."""
    runs = [run for run in _HAN.findall(_FIRM.sub("", text)) if run not in prompt]
    if sum(map(len, runs)) > _HAN_SHARE * len(_HANGUL.findall(text)):
        return True
    return any(not _NEWS_HAN.fullmatch(run) for run in runs)


def _unexplained(words: list[str], known: set[str]) -> list[str]:
    """Return the words that are not of the prompt, no abbreviations, no units and no variables of one letter."""
    return [
        word
        for word in words
        if len(word) >= 2
        and len(re.findall(r"[A-Z]", word)) < 2
        and word.casefold() not in known
        and not _PLAIN_WORD.fullmatch(word)
    ]


def _small(words: list[str], known: set[str]) -> list[str]:
    """Return the unexplained words that are no names either: they start with a small letter."""
    return [word for word in _unexplained(words, known) if word[0].islower()]


def _has_clause_word(words: list[str], known: set[str]) -> bool:
    return any(
        word == "I" or _CLAUSE_WORD.fullmatch(word.casefold().replace("’", "'"))
        for word in words
        if word.casefold() not in known
    )


def _is_foreign(sentence: str, known: set[str]) -> bool:
    """Whether a sentence is no Korean: prose without Hangul, a clause of Latin words, or a mixture of two languages."""
    words = _WORD.findall(sentence)
    small = _small(words, known)
    syllables = len(_HANGUL.findall(sentence))
    if not syllables:
        return len(words) >= 3 and (len(small) >= 2 or _has_clause_word(words, known))
    places = 0
    for part in _HANGUL.split(sentence):
        inside = _WORD.findall(part)
        strange = _small(inside, known)
        places += bool(strange)
        if len(strange) >= 6 or (len(inside) >= 3 and strange and _has_clause_word(inside, known)):
            return True
    mixed = len(small) >= (3 if places >= 2 else 4)  # three words in one place may be a term
    return mixed and _SYLLABLE * syllables < sum(map(len, small))


def _has_no_korean(text: str, known: set[str]) -> bool:
    """Whether an answer of two words or more without Hangul is more than a name: a small word, or surely a language."""
    words = _WORD.findall(text)
    if _HANGUL.search(text) or len(words) < 2:
        return False
    strange = _unexplained(words, known)
    return bool(_small(words, known)) or (len(strange) >= 2 and _surely_foreign(" ".join(strange)))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_LANGUAGES)
    return identifier


def _surely_foreign(text: str) -> bool:
    """Whether py3langid takes a text for another language than Korean; names of firms come to 0.8 at most."""
    language, probability = _identifier().classify(text)
    return bool(language != "ko" and probability >= _SURE)
