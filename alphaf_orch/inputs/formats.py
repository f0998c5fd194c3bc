"""Data as people have them, read once into the canonical rows of the cache; what can be trained as it is stays so."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from alphaf_orch.core.cached import data_cache
from alphaf_orch.core.command import PROGRAM_ENV, capture, child_env, program
from alphaf_orch.core.disk import said_of_disk, size, writing
from alphaf_orch.core.errors import DataError
from alphaf_orch.core.paths import PROGRAMS, cache_dir
from alphaf_orch.core.record import fingerprint, read_json, write_atomic
from alphaf_orch.core.spoken import say
from alphaf_orch.inputs.data import check_file
from alphaf_orch.inputs.kept import found_once
from alphaf_orch.inputs.sources import Source, at_revision, file_hash, refuse_pattern
from alphaf_orch.programs.formats.converting import Wanted, convert
from alphaf_orch.programs.formats.files import json_reading, packed_by, shard_files, table_kind
from alphaf_orch.programs.formats.json_rows import NotRows
from alphaf_orch.programs.formats.recognise import Normal
from alphaf_orch.programs.formats.slim import slimmed
from alphaf_orch.programs.lines import bounded_lines
from alphaf_orch.programs.rows import Kind, conversation, preference

_LARGE = 50 << 20  # ours: bytes whose conversion takes long enough to be announced
_NO_LIMIT_S = 7 * 86400.0
# The formats that were trained as they lie in a hub set before there was a canonical form; runs know them by commit.
_AS_BEFORE = {
    "messages (role, content)", "conversations (from, value)", "chosen, rejected", "prompt, chosen, rejected",
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How data are read: the python that has `datasets`, the columns meant by known names, one Unicode form or none."""

    python: str = sys.executable
    columns: Mapping[str, str] = field(default_factory=dict)
    normalize: Normal | None = None


def read_local(place: Path, want: Kind, how: Reading) -> Source:
    """Return the facts of a file or folder of rows, checked to the last row, with the canonical copy where one is made.

    JSON Lines that the trainers read as they are have none, unless a row has more than is used. Raises DataError for
    rows that must not be trained on and for what is no known format.
    """
    refuse_pattern(place, str(place), "Rename the file or folder without * ? [ and ::")
    if place.is_file():
        _refuse_holes(place)
    if not _trainable(place, want, how):
        return _converted(place, want, how)
    try:
        found = check_file(place, want)
    except DataError as error:
        # Its first row is plain; a later one may not be, `system` beside the turns of a few rows.
        try:
            return _converted(place, want, how)
        except DataError:
            raise error from None
    if how.normalize:
        return _converted(place, want, how)
    if want == "preference" or not found.extra_keys:
        return found
    return replace(found, copy=_slim_copy(place, found))


def read_hub(source: Source, want: Kind, how: Reading) -> Source:
    """Return a set of the hub's cache with its rows checked and in canonical form; its name and commit identify it."""
    assert source.snapshot is not None
    folder = Path(source.snapshot)
    called = at_revision(source)
    wanted = {"place": str(folder), "called": called, "hub": called, "config": source.config, "split": source.split}
    facts = _kept_facts(folder.name, want, how, wanted)
    checked = _checked(facts, called, want)
    own = facts["format"] in _AS_BEFORE and not (facts["masked"] or how.normalize)
    return replace(
        checked,
        path=source.path,
        kind="hub",
        split=source.split,
        config=source.config,
        revision=source.revision,
        snapshot=source.snapshot,
        sha256=None if own else facts["sha256"],
    )


def _refuse_holes(file: Path) -> None:
    """Raise DataError for a file with parts that were never written, which read as zeros: a terabyte costs nothing."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        hole = os.lseek(opened.fileno(), 0, os.SEEK_HOLE) if size else size
    if hole < size and (hole == 0 or not (table_kind(file) or packed_by(file))):
        what = f"the file has a hole: from byte {hole:,} on it was never written, and reads as zeros"
        raise DataError(
            what, where=str(file), fix="Copy it again: an interrupted copy leaves such a file", code="data.file_damaged"
        )


def _trainable(place: Path, want: Kind, how: Reading) -> bool:
    """Return whether the first row of a file is one that the trainers read as it stands, or is broken text."""
    if place.is_dir() or how.columns or packed_by(place) or table_kind(place):
        return False
    try:
        with place.open("rb") as file:
            line = next((line.strip() for line in bounded_lines(file) if line.strip(b"\xef\xbb\xbf \t\r\n")), b"")
        row = json.loads(line.decode("utf-8-sig"))
        (conversation if want == "chat" else preference)(row)
    except UnicodeDecodeError:
        return True  # the check says in which encoding it may be
    except (ValueError, RecursionError, AttributeError):
        return False
    return True


def _converted(place: Path, want: Kind, how: Reading) -> Source:
    facts = _facts(place, want, how)
    return replace(_checked(facts, str(place), want), path=str(place))


def _checked(facts: Mapping[str, Any], called: str, want: Kind) -> Source:
    """Return the facts of the canonical copy, told as those of the source."""
    written = "" if facts["written"] == "JSON Lines" else f", {facts['written']}"
    copy, taken = facts["copy"], f"{facts['format']}{written}"
    if facts["format"].startswith("text"):
        size = Path(copy).stat().st_size
        found = Source(
            called, "local", format="text", rows=facts["rows"], turns=0, systems=0, sha256=facts["sha256"], size=size
        )
    else:
        found = check_file(copy, want, origin=called)
    return replace(found, path=called, copy=copy, taken=taken, unused=facts["unused"])


def _facts(place: Path, want: Kind, how: Reading) -> Mapping[str, Any]:
    try:
        files = _files(place)
    except NotRows as none:
        fix = "Give one file, or a folder of save_to_disk, or one whose files are all .parquet, .arrow, .csv or .jsonl"
        raise DataError(f"{place.name} {none}", where=str(place), fix=fix, code=none.code) from none
    digest = hashlib.sha256()
    for file in files:
        found = found_once("data_bytes", file, {}, partial(file_hash, file))
        digest.update(f"{file.relative_to(place)}\0{found['sha256']}\n".encode())
    return _kept_facts(digest.hexdigest(), want, how, {"place": str(place), "called": str(place)})


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if any((place / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return sorted(file for file in place.rglob("*") if file.is_file())
    return shard_files(place)


def _slim_copy(place: Path, found: Source) -> str:
    """Return the canonical copy of checked rows that are plain but for keys that nothing reads."""
    assert found.format is not None and found.sha256 is not None
    folder = cache_dir() / "rows"

    def make() -> dict[str, Any]:
        _announce(place)
        return slimmed(place, found.format or "messages", folder)

    return str(_made_once(folder, [found.sha256, "slim"], make)["copy"])


def _kept_facts(identity: str, want: Kind, how: Reading, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is known of the content, its canonical rows in the cache; they are made where they are not there."""
    folder = cache_dir() / "rows"
    asked: dict[str, Any] = {"want": want, "columns": dict(how.columns), "normalize": how.normalize}
    about = {key: wanted.get(key) for key in ("config", "split")}
    todo = Wanted(**asked, **wanted, folder=str(folder))
    return _made_once(folder, [identity, asked, about], lambda: _convert(todo, how.python))


def _made_once(folder: Path, key: list[Any], make: Callable[[], dict[str, Any]]) -> Mapping[str, Any]:
    """Return the facts of a copy and its place; it is made where the cache does not have it."""
    index = folder / f"{fingerprint([_converter(), *key])[:32]}.json"
    facts = read_json(index) or {}
    copy = folder / f"{facts.get('sha256')}.jsonl"
    if not facts or not copy.is_file():
        with writing(folder):
            facts = make()
        copy = folder / f"{facts['sha256']}.jsonl"
        write_atomic(index, json.dumps(facts, ensure_ascii=False))
    return {**facts, "copy": str(copy)}


@cache
def _converter() -> str:
    """Return what tells this conversion from that of another version, which may read rows otherwise."""
    files = [*sorted((PROGRAMS / "formats").glob("*.py")), PROGRAMS / "rows.py", PROGRAMS / "row_keys.py"]
    return fingerprint([file.read_text(encoding="utf-8") for file in files])


def _convert(wanted: Wanted, python: str) -> dict[str, Any]:
    place = Path(wanted.place)
    _announce(place)
    if place.is_file() and not packed_by(place) and not table_kind(place):
        # JSON needs no library of a tool's environment, and no process.
        return convert(wanted, json_reading(place), DataError)
    argv = program(python, "formats.convert", json.dumps(asdict(wanted), ensure_ascii=False))
    code, out = capture(argv, env=child_env({**PROGRAM_ENV, **data_cache()}, online=False), timeout=_NO_LIMIT_S)
    try:
        found: dict[str, Any] = json.loads(out.strip().rpartition("\n")[2])
    except ValueError:
        raise DataError(
            f"the rows could not be read: the program that reads them ended with exit code {code}",
            where=f"{wanted.called}; {python} -m alphaf_orch.programs.formats.convert",
            fix="check that `datasets` is installed there (`make setup`, or `tools:` in the config)",
            code="data.unreadable",
        ) from None
    if "errno" in found:
        raise OSError(found["errno"], os.strerror(found["errno"]))
    if "error" in found:
        raise said_of_disk(found["error"]["what"], Path(wanted.folder)) or DataError(**found["error"])
    return found


def _announce(place: Path) -> None:
    length = place.stat().st_size if place.is_file() else 0
    if length > _LARGE:
        say(f"note: the rows of {place} are written to the cache once ({size(length)})", err=True)
