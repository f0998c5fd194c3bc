"""One canonical JSON Lines file of any source, under the name of its content, and what was found on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from alphaf_orch.programs.formats.files import Reading
from alphaf_orch.programs.formats.json_rows import NotRows
from alphaf_orch.programs.formats.recognise import Asked, Normal, Taken, canonical
from alphaf_orch.programs.mistakes import Mistakes
from alphaf_orch.programs.row_keys import RowError
from alphaf_orch.programs.rows import Kind

_HOPELESS = 10_000  # ours: so many rows from the first on, none of them one
_FIX = "Correct or delete these rows"
_FIX_FILE = "Give a file of rows in a format of docs/data.md"


@dataclass(frozen=True)
class Wanted:
    """What is converted: a place on this machine, what the user calls it, how it is read, where the copy goes."""

    place: str
    called: str
    want: Kind
    folder: str
    columns: Mapping[str, str] = field(default_factory=dict)
    normalize: Normal | None = None
    hub: str | None = None
    config: str | None = None
    split: str | None = None


def convert(
    wanted: Wanted, opened: AbstractContextManager[Reading], error: Callable[..., BaseException]
) -> dict[str, Any]:
    """Write the canonical rows to `folder`/SHA256.jsonl and return the facts: format, rows, sha256, what was not used.

    Raises `error(what, where=…, fix=…)` of all rows that must not be trained on together, or of a file without rows.
    """
    return published(Path(wanted.folder), lambda target: _converted(wanted, opened, target, error))


def published(folder: Path, write: Callable[[IO[bytes]], dict[str, Any]]) -> dict[str, Any]:
    """Return the facts of what `write` wrote, in the folder under its hash then; nothing half-written stays."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = folder / f".{os.getpid()}.partial"
    try:
        with _private(partial) as target:
            facts = write(target)
        if facts["masked"]:
            facts["sha256"] = _name_masks(partial)
        partial.replace(folder / f"{facts['sha256']}.jsonl")
    finally:
        partial.unlink(missing_ok=True)
    return facts


def _private(path: Path) -> IO[bytes]:
    # Training rows are the user's alone, as their own files may be.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _converted(
    wanted: Wanted, opened: AbstractContextManager[Reading], target: IO[bytes], error: Callable[..., BaseException]
) -> dict[str, Any]:
    try:
        with opened as found:
            return _written(found, wanted, target, error)
    except NotRows as none:
        where = f"{wanted.called} line {none.line}" if none.line else wanted.called
        raise error(str(none), where=where, fix=_FIX_FILE, code=none.code) from none


def _written(found: Reading, wanted: Wanted, target: IO[bytes], error: Callable[..., BaseException]) -> dict[str, Any]:
    asked = Asked(wanted.want, wanted.columns, wanted.normalize)
    mistakes, unused, digest = Mistakes(wanted.called, found.unit), Counter[str](), hashlib.sha256()
    form, rows, masked = "", 0, False
    for number, row in found.rows:
        rows += 1
        try:
            taken = canonical(row, asked)
            line = _line(taken)
            if form and taken.format != form:
                raise RowError(
                    "row",
                    f"is in the format '{taken.format}', the rows before are in '{form}'",
                    code="data.mixed_formats",
                )
        except RowError as mistake:
            mistakes.add(number, str(mistake), fix=_FIX, key=mistake.key, code=mistake.code)
            if not form and len(mistakes) == _HOPELESS:
                break  # no file of rows that can be mended one by one
            continue
        form = taken.format
        masked |= taken.masked
        unused.update(taken.unused)
        digest.update(line)
        target.write(line)
    mistakes.check(error)
    if not rows:
        raise NotRows("the file has no rows", code="data.no_rows")
    return {
        "format": form,
        "written": found.written,
        "unit": found.unit,
        "rows": rows,
        "masked": masked,
        "unused": dict(sorted(unused.items())),
        "sha256": digest.hexdigest(),
    }


def _line(taken: Taken) -> bytes:
    try:
        "".join(taken.unused).encode()  # told by name
        return _compact(taken.row)
    except UnicodeEncodeError as error:
        raise RowError("row", "holds half a surrogate pair (a cut emoji)", code="data.broken_text") from error


def _compact(row: Mapping[str, Any]) -> bytes:
    # As orjson writes it, which an environment of a tool may lack.
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _name_masks(file: Path) -> str:
    """Write `train` into the first row's assistant turns; return the new hash.

    The loader of `datasets` 4.8.4 fixes the keys of turns after its first 10 MiB.
    """
    changed = file.with_suffix(".masks")
    with file.open("rb") as rows, _private(changed) as target:
        first = json.loads(rows.readline())
        for turn in first["messages"]:
            if turn["role"] == "assistant":
                turn.setdefault("train", True)
        target.write(_compact(first))
        shutil.copyfileobj(rows, target)
    changed.replace(file)
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
