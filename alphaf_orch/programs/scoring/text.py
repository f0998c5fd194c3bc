"""What can be said of any generation without knowing the question: is it empty, does it loop, how long is it."""

from __future__ import annotations

import re
import unicodedata
import zlib

# Some servers keep special tokens in the text; a replacement character is half a character that was cut off.
_SPECIAL = re.compile(r"<\|[^<>|\n]{1,40}\|>|</?s>|<(?:unk|pad|bos|eos|mask)>|\[(?:UNK|PAD|CLS|SEP|MASK)\]|\ufffd")

_LONGEST_PERIOD = 120  # characters
_LONG_PIECE = 8
_SHORTEST_LOOP = 12  # characters that the repetitions must cover in all
_SHORTEST_DIGIT_LOOP = 24  # the zeros of 1,000,000,000,000 are no loop
_COMPRESSIBLE_BYTES = 600
_COMPRESSED_SHARE = 0.15


def cleaned(answer: str) -> str:
    """Return the answer in NFC without special tokens, replacement characters and outer white space."""
    return _SPECIAL.sub("", unicodedata.normalize("NFC", answer)).strip()


def empty(answer: str) -> int:
    """Return 1 if nothing but white space, special tokens, punctuation and symbols is there: no letter, no digit."""
    return int(not any(character.isalnum() for character in cleaned(answer)))


def length_chars(answer: str) -> int:
    """Return how many characters the cleaned answer has, inner white space included."""
    return len(cleaned(answer))


def looping(answer: str) -> int:
    """Return 1 if the answer repeats itself without end.

    Only letters and digits are looked at, without case, so that white space and table rules do not count. A loop is
    one piece of up to 120 characters that stands four times in a row and covers half of the answer, or (for answers
    cut short) a piece of eight or more that stands three times and covers three quarters; it covers 12 characters in
    all, 24 where it has digits only. A text of 600 bytes or more that zlib shrinks below 15% is one too, which finds
    pieces that take turns.
    """
    text = "".join(character for character in cleaned(answer).casefold() if character.isalnum())
    data = text.encode()
    if len(data) >= _COMPRESSIBLE_BYTES and len(zlib.compress(data, 9)) < _COMPRESSED_SHARE * len(data):
        return 1
    periods = range(1, min(len(text) // 3, _LONGEST_PERIOD) + 1)
    return int(any(_repeats(text, period) for period in periods))


def _repeats(text: str, period: int) -> bool:
    equal = 0
    for place in range(len(text) - period):
        equal = equal + 1 if text[place] == text[place + period] else 0
        covered = equal + period
        often = covered >= 4 * period and 2 * covered >= len(text)
        if often or (period >= _LONG_PIECE and covered >= 3 * period and 4 * covered >= 3 * len(text)):
            piece = text[place : place + period]
            if covered >= (_SHORTEST_DIGIT_LOOP if piece.isdigit() else _SHORTEST_LOOP):
                return True
    return False
