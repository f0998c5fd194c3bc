"""A disk that is full, or takes nothing for another reason: said as that, with its place and what to free."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.core.errors import DiskError
from alphaf_orch.core.paths import cache_dir, expanded, runs_dir

_WHAT = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on the disk is used up",
    errno.EFBIG: "a file became larger than the disk, or `ulimit -f`, allows",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk failed (input/output error)",
    errno.EACCES: "permission denied",
    errno.EPERM: "the system does not permit it",
}
_RIGHTS = (errno.EACCES, errno.EPERM)
# How tools of python, Rust and C++ put it.
_SAID = {
    errno.ENOSPC: re.compile(r"No space left on device|\(os error 28\)"),
    errno.EDQUOT: re.compile(r"Disk quota exceeded|\(os error 122\)"),
    errno.EFBIG: re.compile(r"File too large|\(os error 27\)"),
    errno.EROFS: re.compile(r"Read-only file system|\(os error 30\)"),
    errno.EIO: re.compile(r"Input/output error|\(os error 5\)"),
}
_NAMED = re.compile(r"'(/[^']+)'")
_NOTHING = 64 * 1024  # bytes; with less even a log does not grow, and a tool may die without a word of it


def size(count: int) -> str:
    """Return bytes as people write them: `0 bytes`, `12.0 KiB`, `79.6 GiB`."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def written(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def writing(path: Path | None = None) -> Iterator[None]:
    """Raise DiskError where the disk refuses what is written, naming `path`: the error of a write names no file."""
    try:
        yield
    except OSError as error:
        failure = disk_error(error, path)
        if failure is None:
            raise
        raise failure from error


def disk_error(error: OSError, path: Path | None = None) -> DiskError | None:
    """Return what to tell the user of an error that is the disk's, None for any other one."""
    named = error.filename2 or error.filename
    if error.errno not in _WHAT or (error.errno in (errno.EIO, *_RIGHTS) and not named and not path):
        return None  # EIO without a file is of a terminal that was closed, rights without one are of a process
    place = Path(os.fsdecode(named)) if isinstance(named, str | bytes) else path
    return _failure(error.errno, str(place) if place else "", place or runs_dir())


def told_of_disk(text: str, log: Path) -> DiskError | None:
    """Return the error where what a tool said, or a log that could not grow, is of a disk; None for any other end."""
    for number, pattern in _SAID.items():
        if pattern.search(text):
            named = _NAMED.search(text)
            return _failure(number, text, Path(named[1]) if named else _fullest(log))
    if shutil.disk_usage(existing(log)).free < _NOTHING:
        return _failure(errno.ENOSPC, text, log)
    return None


def _failure(number: int, what: str, place: Path) -> DiskError:
    folder = existing(place)
    fix = "mend that disk, or point ALPHAF_RUNS at another one"
    if number in (errno.ENOSPC, errno.EDQUOT):
        fix = _to_free(folder)
    elif number in _RIGHTS:
        fix = "get the right to read and write there, or point ALPHAF_RUNS at another folder"
    return DiskError(
        f"{_WHAT[number]}{f': {what}' if what else ''}",
        where=_file_system(folder),
        fix=f"{fix}; then the same command goes on from what is finished",
    )


def existing(path: Path) -> Path:
    """Return the path, or the first folder above it that is there."""
    path = path.absolute()
    while not os.path.exists(path):  # noqa: PTH110  (False too where a folder above it may not be looked into)
        path = path.parent
    return path


def _file_system(folder: Path) -> str:
    """Return mount point, kind and what is free there."""
    mount = folder.resolve()
    while not mount.is_mount():
        mount = mount.parent
    kinds = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            name, kind = line.split()[1:3]
            kinds[re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), name)] = kind
    usage, inodes = shutil.disk_usage(folder), os.statvfs(folder)
    room = f"{size(usage.free)} of {size(usage.total)} free"
    if inodes.f_files and not inodes.f_favail:
        room += ", and no further file can be made (no inodes)"
    return f"file system {mount} ({kinds.get(str(mount), 'of an unknown kind')}): {room}"


def _to_free(folder: Path) -> str:
    """Return what may go: scratch of the run that the folder belongs to, else runs and models that are not needed."""
    for parent in (folder, *folder.parents):
        scratch = parent / ".partial"
        if scratch.is_dir():
            with contextlib.suppress(OSError):  # what another process takes away meanwhile
                held = written(scratch)
                return f"free space there: {scratch} ({size(held)}) is scratch, and so are old checkpoint-* folders"
    return (
        f"free space there (runs and their checkpoint-* folders are in {runs_dir()}, built models in {cache_dir()}),"
        " or point ALPHAF_RUNS at a larger disk"
    )


def _fullest(log: Path) -> Path:
    """Return the place with the least room of those that tools write to."""
    hub = expanded(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    places = [existing(place) for place in (log, cache_dir(), hub, Path(tempfile.gettempdir()))]
    return min(places, key=lambda place: shutil.disk_usage(place).free)
