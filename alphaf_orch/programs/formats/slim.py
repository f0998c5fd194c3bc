"""Checked JSON Lines without what nothing reads: the short way to the canonical copy of rows that are plain already.

Only here rows are read by orjson, which an environment of a tool may lack.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import orjson

from alphaf_orch.programs.formats.converting import published
from alphaf_orch.programs.row_keys import MASKS
from alphaf_orch.programs.rows import OPENAI, SHAREGPT, Format


def slimmed(file: Path, form: Format, folder: Path) -> dict[str, Any]:
    """Write the canonical copy of a checked file of plain rows as `convert` does; return its sha256."""

    def write(target: IO[bytes]) -> dict[str, Any]:
        rows, masked, digest = _slim(file, form, target)
        return {"rows": rows, "masked": masked, "sha256": digest}

    return published(folder, write)


def _slim(file: Path, form: Format, target: IO[bytes]) -> tuple[int, bool, str]:
    """Write the turns of a checked file's rows; return the rows, whether one is masked, and the SHA-256 of it all."""
    digest, rows, masked = hashlib.sha256(), 0, False
    (role, content), roles = SHAREGPT if form == "conversations" else OPENAI
    for row in _rows(file):
        turns = [{"role": roles[turn[role]], "content": turn[content]} for turn in row[form]]
        for turn, said in zip(turns, row[form], strict=True):
            if len(said) > 2 and turn["role"] == "assistant" and _masked(said):
                turn["train"], masked = False, True
        line = orjson.dumps({"messages": turns}, option=orjson.OPT_APPEND_NEWLINE)
        digest.update(line)
        target.write(line)
        rows += 1
    return rows, masked, digest.hexdigest()


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open("rb", buffering=1 << 20) as stream:
        for number, line in enumerate(stream):
            raw = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            if not raw.strip():
                continue
            try:
                yield orjson.loads(raw)
            except orjson.JSONDecodeError:
                # NaN, which the check reads and this parser does not.
                yield json.loads(raw)


def _masked(turn: Mapping[str, Any]) -> bool:
    return any(turn.get(key) is not None and not turn[key] for key in MASKS)
