"""Texts, places and commands as a report shows them: without a user's folders."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import PACKAGE, RunPaths

_ABSOLUTE = re.compile(r"(?<![\w.…~/:])/(?:[^\s/'\"`,:;()\[\]{}]+/)+[^\s'\"`,:;()\[\]{}]*")


def hide(text: Any, paths: RunPaths) -> str:
    """Return the text with paths relative to the run and no folder of this or another user, nor this host's name."""
    shown = str(text)
    for folder, name in ((paths.root, "."), (PACKAGE, "alphaf_orch"), (Path.home(), "~")):
        shown = re.sub(re.escape(str(folder)) + r"(?![\w-])", name, shown)
    shown = re.sub(r"(?<!\w)\./(?=\S)", "", shown)
    shown = _ABSOLUTE.sub(lambda found: "…/" + found[0].rstrip("/").rpartition("/")[2], shown)
    host = platform.node()
    return re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "host", shown) if len(host) > 1 else shown


def place(path: Any, paths: RunPaths) -> str:
    """Return a path as it is shown: inside the run from its root on, elsewhere the last part, a hub id whole."""
    text = str(path)
    if not Path(text).is_absolute():
        return text if not text.startswith("~") else f"…/{Path(text).name}"
    inside = Path(text).is_relative_to(paths.root)
    return str(Path(text).relative_to(paths.root)) if inside else f"…/{Path(text).name}"


def command(argv: Sequence[str], paths: RunPaths) -> str:
    """Return a command with every path shortened as `place` does it."""
    import shlex

    def short(word: str) -> str:
        option, equals, value = word.partition("=")
        if equals and value.startswith("/"):
            return f"{option}={place(value, paths)}"
        return place(word, paths) if word.startswith("/") else hide(word, paths)

    return " ".join(word if word.startswith("…/") else shlex.quote(word) for word in map(short, argv))
