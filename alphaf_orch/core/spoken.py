"""The one boundary at which a text is said in the reader's language: messages are written in English and kept so.

What alphaf, its children and its records say stays English in files, logs and JSON, and is recognised where it is
shown: by its template in the catalogues `locale/ko/*.json` (`tools/messages.py` writes them), its values likewise.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alphaf_orch.core.called import as_called
from alphaf_orch.core.wording import Language

if TYPE_CHECKING:
    from alphaf_orch.core.catalogue import Catalogue

_CATALOGUES = Path(__file__).resolve().parents[1] / "locale"
_DOCS = _CATALOGUES.parents[1]  # of a checkout; an installed package has no pages
_PAGE = re.compile(r"\bdocs/([\w-]+)\.md(?![A-Za-z0-9_#])")  # a section has another name there
_MARKS = ":;,. "


def language() -> Language:
    """Return the language of messages: what ALPHAF_LANG says, else Korean where the locale of messages is Korean."""
    asked = os.environ.get("ALPHAF_LANG", "").strip().lower()
    if not asked:
        asked = next((os.environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(key)), "")
    return "ko" if asked.lower().startswith("ko") else "en"


def spoken(text: str) -> str:
    """Return a text of ours in the reader's language, its commands as alphaf was called; what is not ours as it is."""
    if language() == "en" or not text:
        return as_called(text)
    said = "\n".join(catalogue().said(line) for line in text.split("\n"))
    return as_called(_PAGE.sub(_korean_page, said))


def _korean_page(named: re.Match[str]) -> str:
    korean = f"docs/{named[1]}.ko.md"
    return korean if (_DOCS / korean).is_file() else named[0]


def say(text: str = "", *, err: bool = False) -> None:
    """Print a text in the reader's language, to stdout or stderr."""
    click.echo(spoken(text), err=err)


@functools.cache
def catalogue() -> Catalogue:
    """Return what is said in Korean, read once; nothing of it is imported or read where messages are English."""
    from alphaf_orch.core.catalogue import Catalogue

    texts: dict[str, str] = {}
    for path in sorted((_CATALOGUES / "ko").glob("*.json")):
        found = {text: said for text, said in json.loads(path.read_text(encoding="utf-8")).items() if said}
        if path.stem == "libraries":  # what they say is put behind a text of ours
            found |= {text[0].lower() + text[1:]: said for text, said in found.items()}
        texts |= found
    # What stands before or behind another text is met without its mark too, where that was taken for a separator.
    plain = {text.strip(_MARKS): said.strip(_MARKS) for text, said in texts.items() if text != text.strip(_MARKS)}
    return Catalogue(plain | texts)
