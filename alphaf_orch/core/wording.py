"""A text in the two languages of the reports, and how it is read in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Language = Literal["ko", "en"]


LANGUAGES: tuple[Language, ...] = ("ko", "en")


@dataclass(frozen=True)
class Label:
    """One text in both languages."""

    ko: str
    en: str


Text = str | Label  # a plain string is data, or a name that is the same in both


def in_language(text: Text, language: Language) -> str:
    """Return the text as it reads in one language."""
    if isinstance(text, str):
        return text
    return text.ko if language == "ko" else text.en


def join(parts: Sequence[Text], separator: str = " · ") -> Text:
    """Return the parts that are not empty as one text."""
    kept = [part for part in parts if part != ""]
    if all(isinstance(part, str) for part in kept):
        return separator.join(in_language(part, "en") for part in kept)
    return Label(*(separator.join(in_language(part, language) for part in kept) for language in LANGUAGES))


def named(names: dict[str, Label], name: str) -> Text:
    """Return what a thing is called, or its own name where nobody named it."""
    return names.get(name, name)
