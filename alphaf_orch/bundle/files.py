"""The files of a bundle: where each comes to lie, how large it is, what its content is known by."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alphaf_orch.core.errors import DataError

SUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
INSTALLER = "install.sh"
FACTS = "facts"
# sha256sum writes such names escaped, a file system of a USB stick (FAT, NTFS) cannot keep the others; a surrogate is a
# byte that is no UTF-8, which no manifest can hold.
_UNFIT = re.compile(r'[\x00-\x1f\x7f\\"*:<>?|\ud800-\udfff]')


@dataclass(frozen=True)
class File:
    """One file that is to come; size in bytes and SHA-256 where they are known before."""

    path: str
    size: int | None = None
    sha256: str | None = None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check_place(path: str, where: str) -> str:
    """Return a file's place in the bundle, raise DataError for one that leaves it or that media cannot keep."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "/".join(parts) != path:
        raise DataError(
            f"{path!r} is no place inside a bundle",
            where=where,
            fix="leave it out, or ask whoever made it",
            code="data.path_outside",
        )
    unfit = _UNFIT.search(path)
    if unfit:
        raise DataError(
            f"the name {path!r} has {unfit[0]!r} in it, which media and checksum files do not carry",
            where=where.encode("utf-8", "backslashreplace").decode("utf-8"),
            fix="rename the file",
            code="data.name_unfit",
        )
    return path


def below(folder: Path) -> Iterator[str]:
    """Yield all that is no folder below one by its place there, sorted; links are not followed."""
    found = []
    for root, folders, names in os.walk(folder):
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in [*names, *linked]]
    yield from sorted(found)


def is_plain(path: Path) -> bool:
    """Return whether a path is a file itself: no link, folder, pipe or device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def has(path: Path, digest: str) -> bool:
    """Return whether the file is there with that SHA-256."""
    return is_plain(path) and sha256(path) == digest
