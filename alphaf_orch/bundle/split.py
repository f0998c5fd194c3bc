"""A bundle cut into parts that media carry, beside the installer that verifies and joins them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO

from alphaf_orch.bundle.files import FACTS, INSTALLER, MANIFEST, SUMS, below, sha256
from alphaf_orch.bundle.seal import write_sums
from alphaf_orch.core.disk import existing, size
from alphaf_orch.core.errors import ConfigError, DiskError, RunStateError
from alphaf_orch.core.record import write_atomic

PART = "bundle.tar."
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LEAST = 1 << 20  # ours
_MOST = 1000  # parts: names have three digits


def parse_size(text: str) -> int:
    """Return the bytes of `4G`, `700M`, `4GiB`: powers of 1000, of 1024 with an i; raise ConfigError for others.

    4G are 4,000,000,000 bytes: the largest file of a FAT file system has 4,294,967,295.
    """
    found = _SIZE.fullmatch(text.strip())
    count = int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].upper()]) if found else 0
    if count < _LEAST:
        raise ConfigError(
            f"{text!r} is no size of a part",
            where="--split",
            fix="give one such as 4G, 700M or 4GiB, 1M at least",
            code="config.not_a_size",
        )
    return count


def split(folder: Path, parts: Path, limit: int) -> str:
    """Write a finished bundle into `parts` as files of at most `limit` bytes, and return the SHA-256 of their sums.

    Raises ConfigError for a limit that makes more parts than their names count, DiskError where there is no room,
    RunStateError for a folder that holds something else; older parts are deleted only where the new ones may come.
    """
    held = sum((folder / place).stat().st_size for place in below(folder))
    needed = _archived(folder)
    if needed > _MOST * limit:
        raise ConfigError(
            f"{size(needed)} are {-(-needed // limit):,} parts of {size(limit)}, and {_MOST} can be told apart",
            where="--split",
            fix=f"give {-(-needed // (_MOST * 10**6))}M or more",
            code="config.out_of_range",
        )
    known = re.compile(rf"{re.escape(PART)}\d{{3}}|{SUMS}|{MANIFEST}|{INSTALLER}|{FACTS}")
    strange = [place for place in below(parts) if not known.fullmatch(place)] if parts.is_dir() else []
    if strange:
        raise RunStateError(
            f"{strange[0]} is no part of a bundle",
            where=str(parts),
            fix="move it away; it is not deleted",
            code="run.strange_files",
        )
    if parts.is_dir():
        _require_room(needed, parts, sum((parts / place).lstat().st_size for place in below(parts)))
        shutil.rmtree(parts)
    _require_room(needed, parts, 0)
    parts.mkdir(parents=True)
    pieces = _Pieces(parts, limit)
    with tarfile.open(fileobj=pieces, mode="w|", format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        for place in below(folder):
            archive.add(folder / place, arcname=place, recursive=False, filter=_plain)
    pieces.close()
    made = [{"name": name, "size": count, "sha256": digest} for name, count, digest in pieces.done]
    for name in (INSTALLER, FACTS):
        shutil.copy(folder / name, parts / name)
    about = {"format": 1, "bundle": sha256(folder / SUMS), "bytes": held, "parts": made}
    write_atomic(parts / MANIFEST, json.dumps(about, indent=1, sort_keys=True) + "\n")
    digests = {name: digest for name, _, digest in pieces.done}
    digests |= {name: sha256(parts / name) for name in (INSTALLER, FACTS, MANIFEST)}
    return write_sums(parts, digests)


def _archived(folder: Path) -> int:
    """Return the bytes that the archive of a folder will have: blocks of 512, a header each, two for a long name."""
    blocks = 2
    for place in below(folder):
        name = len(place.encode("utf-8"))
        blocks += 1 - (-(folder / place).stat().st_size // 512)
        blocks += 1 - (-(name + 1) // 512) if name > tarfile.LENGTH_NAME else 0
    return -(-blocks * 512 // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _require_room(needed: int, parts: Path, there: int) -> None:
    free = shutil.disk_usage(existing(parts)).free + there
    if needed > free:
        raise DiskError(
            f"the parts need {size(needed)}, {size(free)} are free",
            where=str(parts),
            fix="free some, or use --out elsewhere",
            code="disk.too_little",
        )


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return the entry without what differs from machine to machine."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600 if entry.name.startswith("data/") else 0o755 if entry.name == INSTALLER else 0o644
    return entry


class _Pieces:
    """A stream that begins a new file wherever the last one is full, and hashes each."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._written = 0
        self.done: list[tuple[str, int, str]] = []

    def write(self, data: bytes) -> int:
        """Write all of it, over as many files as it takes."""
        view = memoryview(data)
        while view:
            if self._file is None or self._written == self._limit:
                self.close()
                self._file = (self._folder / f"{PART}{len(self.done):03d}").open("wb")
                self._digest, self._written = hashlib.sha256(), 0
            taken = view[: self._limit - self._written]
            self._file.write(taken)
            self._digest.update(taken)
            self._written += len(taken)
            view = view[len(taken) :]
        return len(data)

    def close(self) -> None:
        """End the file that is being written."""
        if self._file is not None:
            self._file.close()
            self.done.append((Path(self._file.name).name, self._written, self._digest.hexdigest()))
            self._file = None
