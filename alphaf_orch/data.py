"""Checks of data: each returns facts about the data, or raises DataError before anything is trained."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from alphaf_orch import hub_cache
from alphaf_orch.errors import DataError
from alphaf_orch.scripts.rows import (
    Format,
    Kind,
    Message,
    RowError,
    conversation,
    preference,
    row_format,
)

# org/name as the Hub allows it. Splits such as train_sft are common there and axolotl has a key for them, so
# `:split` follows the id, in the form of `datasets` (train[:500] too); a colon can't be part of the id.
_HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<split>\w+(\[[\d:%+-]*\])?))?", re.ASCII)
_FILE_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".txt", ".parquet", ".gz", ".zip", ".xlsx")
# `datasets` (4.8.4) expands data file names as patterns and fsspec URLs: "[" finds no file, "*" finds others.
_PATTERN = re.compile(r"[*?\[]|::")
# JsonConfig.chunksize of `datasets` 4.8.4: columns and their types are fixed by this first part of a file.
_FIRST_CHUNK = 10 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Files of a dataset repository that hold no rows.
_NO_ROWS = {"README.md", ".gitattributes", "LICENSE", "dataset_infos.json"}
_NEEDED = {
    "chat": "SFT needs rows with 'messages' (role, content) or ShareGPT 'conversations' (from, value)",
    "preference": "DPO needs rows with 'chosen' and 'rejected'",
}

Shape = set[tuple[tuple[str, ...], str]]


@dataclass(frozen=True)
class Source:
    """One data set: a checked local JSON Lines file, or a Hub data set with its split.

    `turns` counts user and assistant turns (of a preference row: the prompt's and one answer). For a Hub data
    set the counts are None until its rows were read, and `snapshot` is its folder in the cache.
    """

    path: str
    kind: Literal["local", "hub"]
    split: str = "train"
    format: Format | None = None
    rows: int | None = None
    turns: int | None = None
    duplicates: int | None = None
    sha256: str | None = None
    size: int | None = None
    snapshot: str | None = None


def parse_source(text: str) -> Source:
    """Return the unread source that `text` names: an existing file (absolute path) or `org/name[:split]`.

    Raises DataError for a folder, a missing file, or a name that is neither.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        raise DataError(f"{text} is a folder, not a file", where=str(path.absolute()), fix=_folder_hint(path))
    if path.exists():
        return Source(str(path.absolute()), "local")
    hub_id = _HUB_ID.fullmatch(text)
    # A folder of that name here means that a file in it was meant.
    if hub_id and not text.lower().endswith(_FILE_SUFFIXES) and not path.parent.is_dir():
        return Source(hub_id["repo"], "hub", hub_id["split"] or "train")
    raise DataError(f"no such file: {text}", where=str(path.absolute()), fix=_missing_hint(path))


def check_file(path: str | Path, want: Kind) -> Source:
    """Return the facts of a JSON Lines file, read once and line by line (memory: under 200 bytes a row).

    Raises DataError at the first row that must not be trained on, with its line and key.
    """
    file = Path(path).absolute()
    _check_place(file)
    digest = hashlib.sha256()
    seen: set[bytes] = set()
    rows = turns = offset = 0
    form: Format | None = None
    first_chunk: Shape = set()
    for number, raw in _lines(file):
        digest.update(raw)
        start, offset = offset, offset + len(raw)
        row = _parse(file, number, start, raw)
        if row is None:
            continue
        where = f"{file} line {number}"
        try:
            found = row_format(row, want)
            _check_format(found, form, want, where)
            messages = conversation(row) if want == "chat" else _preference_messages(row)
        except RowError as error:
            fix = f"Correct or delete this row. {_NEEDED[want]}."
            raise DataError(str(error), where=f"{where}, key {error.key}", fix=fix) from error
        form = found
        if want == "chat":
            _check_shape(row, first_chunk, where, late=start > _FIRST_CHUNK)
        rows += 1
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
        duplicates=rows - len(seen),
        sha256=digest.hexdigest(),
        size=offset,
    )


def axolotl_dataset(source: Source) -> dict[str, Any]:
    """Return axolotl's `datasets:` entry of a chat source: loss on assistant turns and their end marker.

    A Hub data set whose format was not read yet is taken as `messages`; axolotl stops if it is not.
    """
    sharegpt = source.format == "conversations"
    entry: dict[str, Any] = {"path": source.snapshot or source.path}
    entry |= {"ds_type": "json"} if source.kind == "local" else {"split": source.split}
    return entry | {
        "type": "chat_template",
        "field_messages": "conversations" if sharegpt else "messages",
        # Written out for both: without it axolotl would also map reasoning_content.
        "message_property_mappings": {
            "role": "from" if sharegpt else "role",
            "content": "value" if sharegpt else "content",
        },
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }


def hub_is_cached(repo_id: str, env: Mapping[str, str], revision: str | None = None) -> Path | None:
    """Return the data set's snapshot folder in the Hugging Face cache, or None if no rows are there."""
    folder = hub_cache.snapshot(repo_id, "dataset", revision, env)
    if folder is None:
        return None
    # is_file() follows links, so a snapshot whose blobs were not copied along counts as absent.
    has_rows = any(file.is_file() for file in folder.rglob("*") if file.name not in _NO_ROWS)
    return folder if has_rows else None


def locate_hub(source: Source, env: Mapping[str, str]) -> Source:
    """Return the Hub source with its snapshot folder where it is cached, unchanged where it can be fetched.

    The folder is what later stages load: offline, `datasets` 4.8.4 does not find `org/name` in this cache.
    Raises DataError when the data set is not cached and the environment is offline.
    """
    folder = hub_is_cached(source.path, env)
    if folder is not None:
        return replace(source, snapshot=str(folder))
    if not _offline(env):
        return source
    target = hub_cache.repo_dir(source.path, "dataset", env)
    raise DataError(
        f"data set {source.path} is not on this machine, and the Hub is off (HF_HUB_OFFLINE)",
        where=str(target),
        fix=f"Where there is a network run: hf download --repo-type dataset {source.path}; pack the folder "
        f"{target.name} of its cache with tar, which keeps the links, and unpack it in {target.parent}. "
        "Or give a local JSON Lines file.",
    )


def _offline(env: Mapping[str, str]) -> bool:
    # The words huggingface_hub takes for true.
    value = env.get("HF_HUB_OFFLINE") or env.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def _check_place(file: Path) -> None:
    if not file.is_file():
        raise DataError(f"no such file: {file.name}", where=str(file), fix=_missing_hint(file))
    pattern = _PATTERN.search(str(file))
    if pattern:
        raise DataError(
            f"the path contains {pattern[0]!r}, which the data loader reads as a pattern, not as a name",
            where=str(file),
            fix="Rename the file or folder without * ? [ and ::",
        )


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


def _check_shape(row: Mapping[str, Any], known: Shape, where: str, *, late: bool) -> None:
    """Collect the row's keys and types, or, `late` in the file, refuse one that the loader could not cast."""
    found: Shape = set()
    _shape(row, (), found)
    if not late:
        known |= found
        return
    for path, kind in sorted(found - known):
        # What the loader casts: a later null, a number among strings, an integer among decimals.
        wider = {"int": ("float", "str"), "float": ("str",)}.get(kind, ())
        if kind == "NoneType" or any((path, other) in known for other in wider):
            continue
        key = ".".join(path)
        news = "appears here first" if all(path != old for old, _ in known) else f"is {kind} here, not before"
        raise DataError(
            f"key {key} {news}: the data loader fixes keys and their types after {_FIRST_CHUNK >> 20} MiB",
            where=f"{where}, key {key}",
            fix=f"Remove {key} from all rows, or give it one type and put a row that has it at the top",
        )


def _shape(value: object, path: tuple[str, ...], found: Shape) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _shape(item, (*path, key), found)
    elif isinstance(value, list):
        for item in value:
            _shape(item, path, found)
    else:
        found.add((path, type(value).__name__))


def _preference_messages(row: Mapping[str, Any]) -> list[Message]:
    pair = preference(row)
    return [*pair.prompt, pair.chosen, pair.rejected]


def _row_digest(messages: list[Message]) -> bytes:
    # Of the texts: rows that differ in an id alone are duplicates. With 64 bits a chance hit is out of reach.
    text = "\x1f".join(f"{message['role']}\x1e{message['content']}" for message in messages)
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _folder_hint(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".jsonl", ".json"))
    return f"Give one file of it: {', '.join(names[:5])}" if names else "Give a JSON Lines file (.jsonl)"


def _missing_hint(path: Path) -> str:
    folder = path.absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    if folder != path.absolute().parent:
        return f"The folder does not exist; the nearest one that does is {folder}"
    names = sorted(item.name for item in folder.iterdir() if item.is_file())
    # A name written by macOS is decomposed (NFD): it looks the same and is another one.
    wanted = unicodedata.normalize("NFC", path.name)
    if any(unicodedata.normalize("NFC", name) == wanted for name in names):
        return "A file of this name exists in decomposed Unicode (macOS): rename it, or complete its name by Tab"
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    close = close or [name for name in names if name.endswith((".jsonl", ".json"))][:3]
    if close:
        return f"Nearest in {folder}: {', '.join(close)}"
    return f"{folder} holds no JSON Lines file; a Hub data set is given as org/name or org/name:split"
