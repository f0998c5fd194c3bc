"""A disk that is full, or takes nothing for another reason: said as that, with its place and what to free."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.core.errors import DiskError
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.places import elsewhere, places, takers

_WHAT = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on the disk is used up",
    errno.EFBIG: "a file became larger than the disk, or `ulimit -f`, allows",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk failed (input/output error)",
    errno.EACCES: "permission denied",
    errno.EPERM: "the system does not permit it",
}
_CODES = {
    errno.ENOSPC: "disk.full",
    errno.EDQUOT: "disk.quota_used_up",
    errno.EFBIG: "disk.file_too_large",
    errno.EROFS: "disk.read_only",
    errno.EIO: "disk.broken",
    errno.EACCES: "disk.not_permitted",
    errno.EPERM: "disk.not_permitted",
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


# Powers of 1024, as nvidia-smi and `df -h` count: one choice for all that is printed.
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float, digits: int = 1) -> str:
    """Return bytes as people write them, never as nought of a larger unit: `0 bytes`, `12.0 KiB`, `79.6 GiB`."""
    value, unit = float(count), ""
    for larger in _UNITS:
        if round(value, digits if unit else 0) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.{digits}f} {unit}" if unit else _bytes(round(value))


def sizes(one: int, other: int) -> tuple[str, str]:
    """Return two amounts, with as many digits as it takes to tell them apart."""
    for digits in range(1, 4):
        told = size(one, digits), size(other, digits)
        if one == other or told[0] != told[1]:
            return told
    return _bytes(one), _bytes(other)


def _bytes(number: int) -> str:
    return f"{number:,} byte{'s' if number != 1 else ''}"


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
    return _failure(error.errno, str(place) if place else "", place or fullest(runs_dir()))


def said_of_disk(text: str, log: Path) -> DiskError | None:
    """Return the error where what a tool said is of a disk, None where it speaks of anything else."""
    for number, pattern in _SAID.items():
        if pattern.search(text):
            named = _NAMED.search(text)
            return _failure(number, text, Path(named[1]) if named else fullest(log))
    return None


def told_of_disk(text: str, log: Path) -> DiskError | None:
    """Return the error where what a tool said, or a log that could not grow, is of a disk; None for any other end."""
    said = said_of_disk(text, log)
    if said:
        return said
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
    elif number in (errno.EROFS, errno.EFBIG):
        fix = f"let it be written to, or {elsewhere(folder)}"
    return DiskError(
        f"{_WHAT[number]}{f': {what}' if what else ''}",
        where=_file_system(folder),
        fix=f"{fix}; then the same command goes on from what is finished",
        code=_CODES[number],
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
        room = f"{room}, and no further file can be made: all {inodes.f_files:,} inodes are taken"
    return f"file system {mount} ({kinds.get(str(mount), 'of an unknown kind')}): {room}"


def _to_free(folder: Path) -> str:
    """Return what takes most there, the command that says what may go, and what moves the place elsewhere."""
    most = ", ".join(f"{taker.path} ({size(taker.size)})" for taker in takers(folder))
    held = f"most there is taken by {most}; " if most else ""
    return (
        f"{held}free space there (`alphaf clean` lists what is needed no more, `alphaf clean --yes` deletes it),"
        f" or {elsewhere(folder)}"
    )


def fullest(log: Path) -> Path:
    """Return the place with the least room of those that tools write to."""
    there = [existing(each) for each in (log, *(place.folder for place in places()))]
    return min(there, key=lambda place: shutil.disk_usage(place).free)
