"""The licence of a model made from others: the strictest of theirs, under the hub's name for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# How much each licence asks of a user; the ids are those of the Hugging Face hub (docs/hub/repositories-licenses).
_PERMISSIVE, _SHARE_ALIKE, _CONDITIONS, _NO_COMMERCE, _UNKNOWN = range(5)
STRICTEST = _UNKNOWN
_STRICTNESS = {
    "apache-2.0": _PERMISSIVE,
    "mit": _PERMISSIVE,
    "bsd-3-clause": _PERMISSIVE,
    "cc0-1.0": _PERMISSIVE,
    "cc-by-4.0": _PERMISSIVE,
    "cc-by-sa-4.0": _SHARE_ALIKE,
    "llama2": _CONDITIONS,
    "llama3": _CONDITIONS,
    "llama3.1": _CONDITIONS,
    "gemma": _CONDITIONS,
    "cc-by-nc-4.0": _NO_COMMERCE,
    "cc-by-nc-sa-4.0": _NO_COMMERCE,
    "cc-by-nc-nd-4.0": _NO_COMMERCE,
}
# Licences that the hub has no id for: how a text names them, and what they ask.
_OTHERS = (("community license", _CONDITIONS), ("tongyi", _CONDITIONS), ("non-commercial", _NO_COMMERCE))


@dataclass(frozen=True)
class Licence:
    """A licence as a model card states it: the hub's id, and its name where the id is `other`."""

    hub_id: str
    name: str
    strictness: int


def read_licence(text: str) -> Licence:
    """Return the licence that a preset's text names; an unknown text is `other` and counts as the strictest."""
    plain = text.strip().lower()
    if plain in _STRICTNESS:
        return Licence(plain, text.strip(), _STRICTNESS[plain])
    strictness = next((rank for words, rank in _OTHERS if words in plain), _UNKNOWN)
    return Licence("other", text.strip(), strictness)


def combine_licences(texts: Sequence[str]) -> Licence:
    """Return the strictest licence of a base and its merge partners; equally strict ones are named together.

    This is a reading aid, no legal advice: conditions of two licences can add up in ways no order shows.
    """
    found = [read_licence(text) for text in dict.fromkeys(texts)]
    top = max(licence.strictness for licence in found)
    strictest = [licence for licence in found if licence.strictness == top]
    if len(strictest) == 1 or top == _PERMISSIVE:
        return strictest[0]
    return Licence("other", " and ".join(licence.name for licence in strictest), top)
