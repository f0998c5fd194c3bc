"""Checks of data: each returns facts about the data, or raises DataError before anything is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import cache
from inspect import getfile
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.record import fingerprint
from alphaf_orch.inputs.kept import found_once
from alphaf_orch.inputs.sources import Source, missing_hint, refuse_pattern
from alphaf_orch.programs.row_keys import MASKS, RowError
from alphaf_orch.programs.rows import Format, Kind, Message, conversation, masking_keys, preference, row_format

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NEEDED = {
    "chat": "SFT needs rows with 'messages' (role, content) or ShareGPT 'conversations' (from, value)",
    "preference": "DPO needs rows with 'chosen' and 'rejected'",
}


def check_file(path: str | Path, want: Kind, origin: str | None = None) -> Source:
    """Return the facts of a JSON Lines file, read line by line (memory: under 200 bytes a row).

    It is read once and known again until inode, size or times change: in this process, and where it is large in later
    ones too. Raises DataError at the first row that must not be trained on, with its line and key.
    """
    file = Path(path).absolute()
    _check_place(file)
    facts = found_once(
        "data", file, {"want": want, "checks": _checks()}, lambda: {"source": asdict(_read(file, want, origin))}
    )
    return replace(Source(**facts["source"]), path=str(file))


@cache
def _checks() -> str:
    """Return what tells these checks from those of another version, which may refuse other rows."""
    files = (__file__, getfile(Source), getfile(RowError), getfile(conversation))
    return fingerprint([Path(file).read_text(encoding="utf-8") for file in files])


def _read(file: Path, want: Kind, origin: str | None) -> Source:
    digest = hashlib.sha256()
    seen: set[bytes] = set()
    rows = turns = systems = offset = 0
    form: Format | None = None
    masked_by: frozenset[str] | None = None
    system_key = False
    extra: set[str] = set()
    for number, raw in _lines(file):
        digest.update(raw)
        start, offset = offset, offset + len(raw)
        row = _parse(file, number, start, raw)
        if row is None:
            continue
        where = f"{origin} row {number}" if origin else f"{file} line {number}"
        try:
            found = row_format(row, want)
            _check_format(found, form, want, where)
            messages = conversation(row) if want == "chat" else _preference_messages(row)
        except RowError as error:
            fix = f"Correct or delete this row. {_NEEDED[want]}."
            raise DataError(str(error), where=f"{where}, key {error.key}", fix=fix) from error
        form = found
        if any("train" in message for message in messages):
            masked_by = _common_mask(masked_by, masking_keys(row), where)
        system_key |= want == "preference" and _system_beside_turns(row)
        if want == "chat":
            extra |= row.keys() - {found}
            names = ("from", "value") if found == "conversations" else ("role", "content")
            extra |= {key for turn in row[found] for key in turn if key not in (*names, *MASKS)}
        rows += 1
        systems += messages[0]["role"] == "system"
        turns += sum(message["role"] != "system" for message in messages) - (want == "preference")
        seen.add(_row_digest(messages))
    if not rows:
        raise DataError("the file has no rows", where=str(file), fix=f"Give a file with data. {_NEEDED[want]}.")
    return Source(
        path=str(file),
        kind="local",
        format=form,
        rows=rows,
        turns=turns,
        systems=systems,
        duplicates=rows - len(seen),
        sha256=digest.hexdigest(),
        size=offset,
        message_field_training=min(masked_by) if masked_by else None,
        system_key=system_key,
        extra_keys=tuple(sorted(extra)),
    )


def _system_beside_turns(row: Mapping[str, Any]) -> bool:
    return row.get("system") is not None and isinstance(row["chosen"], list) and len(row["chosen"]) > 1


def _common_mask(before: frozenset[str] | None, here: frozenset[str] | None, where: str) -> frozenset[str]:
    """Return the keys that masked every masked turn so far; axolotl reads one (message_field_training)."""
    common = (before if before is not None else here or frozenset()) & (here or frozenset())
    if not common:
        names = ", ".join(sorted({*(before or ()), *(here or ())}))
        what = f"assistant turns are masked by different keys ({names or 'mixed in one row'}), and axolotl reads one"
        raise DataError(what, where=where, fix="Mask every turn by one of them: train, training (false) or weight (0)")
    return common


def _check_place(file: Path) -> None:
    if not file.is_file():
        raise DataError(f"no such file: {file.name}", where=str(file), fix=missing_hint(file))
    refuse_pattern(file, str(file), "Rename the file or folder without * ? [ and ::")


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield numbered raw lines, after refusing a JSON array: its single line could be the whole file."""
    with file.open("rb") as stream:
        if stream.read(4096).removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"["):
            raise DataError(
                "the file is one JSON array; only JSON Lines is read (one object a line)",
                where=str(file),
                fix=f"Convert it: jq -c '.[]' '{file}' > '{file.with_suffix('.jsonl')}'",
            )
        stream.seek(0)
        yield from enumerate(stream, start=1)


def _parse(file: Path, number: int, start: int, raw: bytes) -> Any:
    """Return the row of a line, or None for a blank line, which the loader of axolotl passes over as well."""
    try:
        # The same loader accepts a byte order mark, but only at the start.
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise _encoding_error(file, number, start, raw, error) from error
    if not text.strip():
        return None
    where = f"{file} line {number}"
    try:
        row = _DECODER.decode(text)
        if b"\\ud" in raw or b"\\uD" in raw:
            json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        what = f"invalid JSON at line {number}: {error.msg} (column {error.colno})"
        raise DataError(what, where=where, fix="Write one complete JSON object on each line") from error
    except (ValueError, RecursionError) as error:
        cut = isinstance(error, UnicodeEncodeError)
        reason = "a \\u escape is half a surrogate pair (a cut emoji)" if cut else str(error)
        fix = "Correct or delete this row: the data loader would read the whole file wrongly"
        raise DataError(f"invalid JSON at line {number}: {reason}", where=where, fix=fix) from error
    return row


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in names if names.count(key) > 1)!r} is given twice")
    return found


# Made once: json.loads would make one for each line.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys)


def _encoding_error(file: Path, number: int, start: int, raw: bytes, error: UnicodeDecodeError) -> DataError:
    at = start + error.start
    guess, name = None, "it is not a text in UTF-8"
    if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        guess, name = "UTF-16", "it looks like UTF-16"
    # One bad byte in good UTF-8 has Korean text before it; CP949 fails at the first Korean character.
    elif raw[: error.start].isascii() and "\ufffd" not in raw.decode("cp949", errors="replace"):
        guess, name = "CP949", "it looks like CP949 (EUC-KR)"
    target = file.with_name(f"{file.stem}.utf8{file.suffix}")
    convert = f"Convert it: iconv -f {guess} -t UTF-8 '{file}' > '{target}'"
    return DataError(
        f"line {number} is not UTF-8: byte 0x{raw[error.start]:02x} at byte offset {at} of the file; {name}",
        where=f"{file} line {number}, byte offset {at}",
        fix=convert if guess else "Save the file as UTF-8; a compressed file must be unpacked first",
    )


def _check_format(found: Format, form: Format | None, want: Kind, where: str) -> None:
    if form not in (None, found):
        fix = "Keep one format in a file: convert these rows, or put them into a second file"
        raise DataError(f"mixed formats: '{found}' here, '{form}' in the rows before", where=where, fix=fix)
    if (found == "preference") != (want == "preference"):
        stage = "DPO" if found == "preference" else "SFT"
        fix = f"{_NEEDED[want]}; give this file to {stage}"
        raise DataError(f"a row in the format '{found}' where {want} rows are needed", where=where, fix=fix)


def _preference_messages(row: Mapping[str, Any]) -> list[Message]:
    pair = preference(row)
    return [*pair.prompt, pair.chosen, pair.rejected]


def _row_digest(messages: list[Message]) -> bytes:
    # Of the texts: rows that differ in an id alone are duplicates. With 64 bits a chance hit is out of reach.
    text = "\x1f".join(f"{message['role']}\x1e{message['content']}" for message in messages)
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
