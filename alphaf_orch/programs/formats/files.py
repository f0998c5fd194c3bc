"""What a file of rows is by its first bytes and its name; JSON that is not packed is opened here, by no library."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from alphaf_orch.programs.formats.json_rows import NotRows, Numbered, json_rows

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ": "xz"}
_TABLES = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".tsv": "csv"}
_CONTENT = {b"PAR1": "parquet", b"ARROW1": "arrow"}
PACKED = (".gz", ".zst", ".bz2", ".xz")
_HELD_OUT = re.compile(r"(?<![a-z])(test|validation|valid|val|dev|eval)(?![a-z])", re.IGNORECASE)
WRITTEN = {"parquet": "Parquet", "arrow": "Arrow", "csv": "CSV"}


@dataclass(frozen=True)
class Reading:
    """The rows of one source, with how they are written and what numbers them."""

    written: str
    unit: Literal["line", "row"]
    rows: Numbered


def table_kind(file: Path) -> str | None:
    """Return the loader of `datasets` for a table (by its content or its name), None for what is JSON or nothing."""
    with file.open("rb") as opened:
        head = opened.read(8)
    for magic, kind in _CONTENT.items():
        if head.startswith(magic):
            return kind
    return _TABLES.get(_suffix(file))


def packed_by(file: Path) -> str | None:
    """Return how the file is compressed, by its first bytes; None where it is not."""
    with file.open("rb") as opened:
        head = opened.read(8)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


@contextlib.contextmanager
def json_reading(file: Path) -> Iterator[Reading]:
    """Open the rows of a JSON file that is not packed; raises NotRows, also while the rows are taken."""
    with file.open("rb") as stream:
        yield json_of(stream, None)


def json_of(stream: IO[bytes], packed: str | None) -> Reading:
    """Return the rows of a stream of JSON."""
    written, rows = json_rows(stream)
    # Items of a list inside an object have no line of their own.
    unit: Literal["line", "row"] = "row" if written.startswith("JSON, the list") else "line"
    return Reading(named(written, packed), unit, rows)


def named(written: str, packed: str | None) -> str:
    """Return how rows are written, with how the file is packed."""
    return f"{written}, {packed}" if packed else written


def shard_files(folder: Path) -> list[Path]:
    """Return the files of a folder of shards, all of one kind, by name; raise NotRows for others."""
    known = (*_TABLES, ".jsonl", ".json", ".ndjson")
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
    rows = [file for file in files if _suffix(file) in known]
    kinds = {_suffix(file) for file in rows}
    if len(kinds) != 1:
        raise NotRows(
            "is a folder, not a file: only a folder whose row files are all of one kind is read as one set",
            code="data.mixed_files",
        )
    heldout = [file.name for file in rows if _HELD_OUT.search(file.name)]
    if heldout and len(heldout) < len(rows):
        raise NotRows(
            f"is a folder that holds other splits too ({heldout[0]}): give a folder of the training files",
            code="data.other_splits",
        )
    return rows


def _suffix(file: Path) -> str:
    """Return what the name says of the file inside its packing."""
    return (Path(file.stem).suffix if file.suffix.lower() in PACKED else file.suffix).lower()
