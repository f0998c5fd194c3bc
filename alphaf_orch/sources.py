"""The data of a run: names in, checked sources out, and what of them a result depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch import data
from alphaf_orch.errors import DataError
from alphaf_orch.samples import sample_path
from alphaf_orch.scripts.rows import Kind

_WEIGHTS = (".safetensors", ".bin", ".pth")
SAMPLES: Mapping[Kind, str] = {"chat": "finance_ko_sft.jsonl", "preference": "finance_ko_dpo.jsonl"}


def check_sources(names: tuple[str, ...], kind: Kind, env: Mapping[str, str]) -> tuple[data.Source, ...]:
    """Return every named source checked to its last row; `sample` names the rows we ship.

    Local files are read whole; a hub set must be in the cache unless `env` allows the network.
    """
    found = []
    for name in names:
        source = data.parse_source(str(sample_path(SAMPLES[kind])) if name == "sample" else name)
        local = source.kind == "local"
        found.append(data.check_file(source.path, kind) if local else data.locate_hub(source, env))
    return tuple(found)


def dataset_entry(source: data.Source) -> dict[str, Any]:
    """Return the source as our child programs take it: path, kind, split, revision."""
    path = source.snapshot or source.path
    return {
        "path": path,
        "kind": source.kind,
        "split": source.split if source.kind == "hub" else None,
        "revision": None,
    }


def content_key(source: data.Source) -> dict[str, Any]:
    """Return what identifies the rows wherever they lie: the hash of a file, the commit of a hub set."""
    if source.kind == "local":
        return {"sha256": source.sha256, "format": source.format}
    commit = Path(source.snapshot).name if source.snapshot else None
    return {"hub": source.path, "commit": commit, "split": source.split}


def entry_key(entry: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """Return an axolotl `datasets:` entry with its path replaced by what identifies the rows there.

    Raises DataError for an entry without a path and for a hub set that is not on this machine.
    """
    path = entry.get("path")
    if not isinstance(path, str) or not path:
        raise DataError("a datasets entry has no path", where="key datasets", fix="give it axolotl's key `path`")
    place = Path(path).expanduser()
    if not place.exists():
        located = data.locate_hub(data.parse_source(path), env)
        return {**entry, "path": content_key(located)}
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return {**entry, "path": {"sha256": digest.hexdigest()}}


def folder_identity(folder: Path) -> str:
    """Return a fingerprint of a model folder from file names, sizes, JSON contents and the ends of the weights.

    Reading every byte of 30 GB for each plan would take a minute; a retrained model differs in the sampled
    64 KiB at the end of each weight file.
    """
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as content:
            content.seek(max(0, size - (1 << 16)) if file.suffix in _WEIGHTS else 0)
            digest.update(content.read())
    return f"local:{digest.hexdigest()[:32]}"
