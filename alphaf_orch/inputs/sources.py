"""What a run's data are called and known by: files and hub sets, their place on this machine, their identity."""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.names import expanded
from alphaf_orch.inputs import hub_cache
from alphaf_orch.inputs.kept import found_once
from alphaf_orch.programs.rows import Format

# Splits such as train_sft are common on the hub and axolotl has a key for them, so `:split` follows the id, in the
# form of `datasets` (train[:500] too), and a configuration before it; a colon can't be part of the id.
_HUB_ID = re.compile(
    rf"(?P<repo>{hub_cache.REPO_ID})(@(?P<revision>[\w./-]+))?(:(?P<config>[\w.+-]+)(?=:))?"
    r"(:(?P<split>[\w.-]+(\[[\d:%+-]*\])?))?",
    re.ASCII,
)
# `datasets` (4.8.4) expands data file names as patterns and fsspec URLs: "[" finds no file, "*" finds others.
_PATTERN = re.compile(r"[*?\[]|::")
_FILE_SUFFIXES = (
    ".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".txt", ".parquet", ".arrow", ".gz", ".zst", ".bz2", ".xz", ".zip",
    ".xlsx",
)  # fmt: skip
# Files of a dataset repository that hold no rows.
_NO_ROWS = {"README.md", ".gitattributes", "LICENSE", "dataset_infos.json"}
# Who trains on these has no test left: rag-ko's train split holds the rows of its test split, the multi-turn set
# those of flare-convfinqa-ko, and the others are test rows only.
EVALUATION_ONLY = (
    "allganize/rag-ko",
    "allganize/financial-mmlu-ko",
    "allganize/flare-fiqasa-ko",
    "allganize/en-fpb-ko",
    "allganize/flare-convfinqa-ko",
    "allganize/flare-convfinqa-multiturn-ko",
    "allganize/RAG-Evaluation-Dataset-KO",
    "HAERAE-HUB/HAE_RAE_BENCH",
)


@dataclass(frozen=True)
class Source:
    """One data set: a checked local file or folder, or a Hub data set with its split.

    `turns` counts user and assistant turns (of a preference row: the prompt's and one answer), `systems` the rows
    that begin with a system turn. For a Hub data set the counts are None until its rows were read, and `snapshot` is
    its folder in the cache. `message_field_training` is the key of turns that masks some of the assistant's, None where
    all are trained on; `system_key` tells preference rows that have `system` beside whole conversations, `extra_keys`
    that rows or turns have keys beside their text and roles, `nfd_rows` counts those with decomposed Hangul.
    `copy` is the canonical file that loaders read in the source's place, `taken` what its rows were taken as and
    `unused` their columns that nothing reads: None where the source itself is read.
    """

    path: str
    kind: Literal["local", "hub"]
    split: str = "train"
    format: Format | None = None
    rows: int | None = None
    turns: int | None = None
    systems: int | None = None
    duplicates: int | None = None
    sha256: str | None = None
    size: int | None = None
    snapshot: str | None = None
    message_field_training: str | None = None
    system_key: bool = False
    extra_keys: bool = False
    nfd_rows: int = 0
    config: str | None = None
    revision: str | None = None
    copy: str | None = None
    taken: str | None = None
    unused: Mapping[str, int] | None = None


def parse_source(text: str) -> Source:
    """Return the unread source that `text` names: an existing file or folder (absolute path), or a set of the hub.

    That is `org/name[@revision][[:config]:split]`. Raises DataError for a missing file, a name that is neither, and a
    set that models are tested on.
    """
    path = expanded(text)
    _refuse_evaluation_sets(text, path)
    if path.exists():
        return Source(str(path.absolute()), "local")
    hub_id = _HUB_ID.fullmatch(text)
    # A folder of that name here means that a file in it was meant.
    if hub_id and not text.lower().endswith(_FILE_SUFFIXES) and not path.parent.is_dir():
        split = hub_id["split"] or "train"
        return Source(hub_id["repo"], "hub", split, config=hub_id["config"], revision=hub_id["revision"])
    raise DataError(
        f"no such file: {text}", where=str(path.absolute()), fix=missing_hint(path), code="data.file_missing"
    )


def refuse_pattern(file: Path, where: str, fix: str) -> None:
    """Raise DataError for a file whose name the data loader would expand; `fix` says what to do about it."""
    pattern = _PATTERN.search(str(file))
    if pattern:
        what = f"the path contains {pattern[0]!r}, which the data loader reads as a pattern, not as a name"
        raise DataError(what, where=where, fix=fix, code="data.path_pattern")


def _refuse_evaluation_sets(text: str, path: Path) -> None:
    for name in EVALUATION_ONLY:
        # The hub takes any case; a file of the cache has the repository in its path.
        in_cache = f"datasets--{name.replace('/', '--')}".casefold() in (part.casefold() for part in path.parts)
        if in_cache or re.split("[@:]", text)[0].casefold() == name.casefold():
            raise DataError(
                f"{name} is an evaluation set: a model trained on it can no longer be tested with it",
                where=text,
                fix="take it out of the training data; `alphaf eval` is what uses it",
                code="data.evaluation_set",
            )


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
    folder = hub_is_cached(source.path, env, source.revision)
    if folder is not None:
        return replace(source, snapshot=str(folder))
    if not _offline(env):
        return source
    target = hub_cache.repo_dir(source.path, "dataset", env)
    revision = f" --revision {source.revision}" if source.revision else ""
    raise DataError(
        f"data set {at_revision(source)} is not on this machine, and the Hub is off (HF_HUB_OFFLINE)",
        where=str(target),
        fix=f"Where there is a network run: hf download --repo-type dataset {source.path}{revision}; pack the folder "
        f"{target.name} of its cache with tar, which keeps the links, and unpack it in {target.parent}. "
        "Or give a local file.",
        code="data.not_here",
    )


def at_revision(source: Source) -> str:
    """Return a set of the hub by its name, with the revision where one was said."""
    return source.path + (f"@{source.revision}" if source.revision else "")


def _offline(env: Mapping[str, str]) -> bool:
    # The words huggingface_hub takes for true.
    value = env.get("HF_HUB_OFFLINE") or env.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def axolotl_dataset(source: Source) -> dict[str, Any]:
    """Return axolotl's `datasets:` entry of a source: loss on assistant turns and their ends, or on all of a text.

    A Hub data set whose format was not read yet is taken as `messages`; axolotl stops if it is not.
    """
    if source.format == "text":
        return {"path": source.copy, "ds_type": "json", "type": "completion", "field": "text"}
    sharegpt = source.format == "conversations" and not source.copy
    entry: dict[str, Any] = {"path": source.copy or source.snapshot or source.path}
    entry |= {"ds_type": "json"} if source.kind == "local" or source.copy else {"split": source.split}
    masked = source.message_field_training
    entry |= {"message_field_training": "train" if source.copy else masked} if masked else {}
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


_PLAIN = {
    "messages": "messages (role, content)",
    "conversations": "conversations (from, value)",
    "preference": "chosen and rejected",
    "text": "text (continued pretraining)",
}


def taken_as(source: Source) -> str:
    """Return what the rows of a source are trained as, and how many; that they are unread where they are not here."""
    if source.format is None:
        return "not on this machine yet"
    return f"{source.taken or _PLAIN[source.format]}, {source.rows:,} rows"


def dataset_entry(source: Source) -> dict[str, Any]:
    """Return the source as our child programs take it: path, kind, split, revision; of a copy whose rows it has."""
    if source.copy and source.taken:
        origin = {"origin": source.path, "unused": dict(source.unused or {})}
        return {"path": source.copy, "kind": "local", "split": None, "revision": None, **origin}
    path = source.snapshot or source.path
    return {
        "path": path,
        "kind": source.kind,
        "split": source.split if source.kind == "hub" else None,
        "revision": None,
    }


def record(source: Source) -> dict[str, Any]:
    """Return a source as the manifest tells of it: what it is, what identifies it and what it was taken as."""
    found: dict[str, Any] = {key: getattr(source, key) for key in ("path", "kind", "rows", "sha256", "split")}
    more = {
        "config": source.config,
        "revision": source.revision,
        "commit": Path(source.snapshot).name if source.snapshot else None,
        "taken_as": source.taken or (_PLAIN[source.format] if source.format else None),
        "canonical": Path(source.copy).stem if source.copy else None,
    }
    return found | {key: value for key, value in more.items() if value is not None}


def content_key(source: Source) -> dict[str, Any]:
    """Return what identifies the rows wherever they lie: the hash of a file, the commit of a hub set."""
    if source.kind == "local":
        # What older versions passed over changes what is trained; other rows keep the identity that runs know them by.
        honoured = {"message_field_training": source.message_field_training, "system_key": source.system_key}
        return {"sha256": source.sha256, "format": source.format, **{k: v for k, v in honoured.items() if v}}
    commit = Path(source.snapshot).name if source.snapshot else None
    # The canonical rows where runs of older versions could not have been trained on the set as it is.
    said = {"config": source.config, "sha256": source.sha256}
    return {"hub": source.path, "commit": commit, "split": source.split, **{k: v for k, v in said.items() if v}}


def entry_key(entry: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """Return an axolotl `datasets:` entry with its path replaced by what identifies the rows there.

    Raises DataError for an entry without a path, a hub set that is not on this machine and one made for tests.
    """
    path = entry.get("path")
    if not isinstance(path, str) or not path:
        raise DataError(
            "a datasets entry has no path",
            where="key datasets",
            fix="give it axolotl's key `path`",
            code="data.key_missing",
        )
    place = expanded(path)
    _refuse_evaluation_sets(path, place)
    if not place.exists():
        located = locate_hub(parse_source(path), env)
        return {**entry, "path": content_key(located)}
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    digest = hashlib.sha256()
    for file in files:
        found = found_once("data_bytes", file, {}, partial(file_hash, file))
        digest.update(bytes.fromhex(found["sha256"]))
    return {**entry, "path": {"sha256": digest.hexdigest()}}


def file_hash(file: Path) -> dict[str, str]:
    """Return the SHA-256 of a file's bytes, as inputs/kept keeps it."""
    with file.open("rb") as content:
        return {"sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def missing_hint(path: Path) -> str:
    """Return what to do about a file that is not there: the nearest names, or the nearest folder."""
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
    close = close or [name for name in names if name.endswith(_FILE_SUFFIXES)][:3]
    if close:
        return f"Nearest in {folder}: {', '.join(close)}"
    return f"{folder} holds no file of rows; a Hub data set is given as org/name or org/name:split"
