"""Texts that are kept as they were made, to be compared; ALPHAF_WRITE_GOLDEN=1 keeps the new ones (`make golden`)."""

from __future__ import annotations

import os
from pathlib import Path


def recorded(file: Path, text: str) -> str:
    """Return what a record holds, which is the text itself where records are to be written."""
    if os.environ.get("ALPHAF_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return file.read_text(encoding="utf-8")
