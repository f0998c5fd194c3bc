"""Whether files that torch.save wrote are whole, without loading what is in them.

torch.save writes zip archives with a CRC-32 for each tensor, which `zipfile` compares without running anything.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

# What zipfile raises on bytes that are not what they should be.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ArithmeticError,
    RuntimeError,
    ValueError,
)


def archive_problem(path: Path, *, read: bool, name: str = "") -> str | None:
    """Return why a file that torch.save wrote is not whole, or None; `name` is what it is called in the answer."""
    name = name or path.name
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip() if read else None
    except FileNotFoundError:
        return f"{name} is missing"
    except _UNREADABLE as error:
        return f"{name} is empty, cut off or damaged ({error})"
    return f"{name} is damaged ({broken} is not what was saved)" if broken else None


def row_problem(path: Path, places: Iterable[tuple[int, int]], *, read: bool, name: str) -> str | None:
    """Return why a file of several such archives, one behind the other, is not whole, or None.

    `places` are the offset and length of each, and they end where the file does.
    """
    if not path.is_file():
        return f"{name} is missing"
    places = sorted(places)
    size, expected = path.stat().st_size, max(offset + length for offset, length in places)
    if size != expected:
        return f"{name} is cut off or damaged ({size:,} of {expected:,} bytes)"
    try:
        with path.open("rb") as file:
            for offset, length in places if read else ():
                with zipfile.ZipFile(_Part(file, offset, length)) as archive:
                    broken = archive.testzip()
                if broken:
                    return f"{name} is damaged ({broken} at byte {offset:,} is not what was saved)"
    except _UNREADABLE as error:
        return f"{name} is damaged ({error})"
    return None


def member(path: Path, name: str) -> bytes:
    """Return the bytes of a member of an archive by the last part of its name; raise ValueError where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = next((each for each in archive.namelist() if each.rpartition("/")[2] == name), None)
            if found:
                return archive.read(found)
    except _UNREADABLE as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"it holds no {name}")


class _Part(io.RawIOBase):
    """A part of an open file, as a file of its own: an archive may hold tens of gigabytes and is never copied."""

    def __init__(self, file: io.BufferedReader, start: int, length: int) -> None:
        self._file, self._start, self._length, self._at = file, start, length, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if self._at < 0:
            raise OSError("it is shorter than an archive")
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._length - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data
