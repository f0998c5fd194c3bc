"""What may lie where a file is meant, in words, and a file opened without waiting for whatever lies there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a disk",
}
_WHY = {
    errno.EACCES: "permission denied",
    errno.EPERM: "the system does not permit it",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "something else is in its place",
    errno.ENOTEMPTY: "a folder is in its place",
    errno.EIO: "the disk failed (input/output error)",
    errno.ENXIO: "it is no file",  # what a socket, and a terminal that is not there, answer
}


class NotAFile(Exception):
    """What was opened is of another kind, named in `kind`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def kind_of(mode: int) -> str:
    """Return what a path leads to that is no regular file: `a pipe`."""
    return _KINDS.get(stat.S_IFMT(mode), "no file")


def why_not(error: OSError) -> str:
    """Return why the system does not take a path, as a sentence about it: `its links lead in a circle`."""
    return _WHY.get(error.errno or 0, error.strerror or type(error).__name__)


def open_file(path: Path) -> BinaryIO:
    """Return the open regular file; raise OSError as `open` does, NotAFile for what is none."""
    # Opened so, a FIFO that nobody writes into does not hold us; what it is is asked of what was opened.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise NotAFile(kind_of(mode))
    return os.fdopen(handle, "rb")
