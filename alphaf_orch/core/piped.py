"""What comes through a pipe (`<(…)`, /dev/stdin, a FIFO), copied once into a file: data are read more than once."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.core.disk import size, writing
from alphaf_orch.core.errors import DataError, DiskError
from alphaf_orch.core.file_kinds import kind_of
from alphaf_orch.core.paths import cache_dir
from alphaf_orch.core.spoken import say

FREE_SHARE = 0.5  # ours: of the free disk, at most; a program that never stops writing must not fill it
FIRST_S = 5.0  # ours: for somebody to begin writing into a FIFO
SILENT_S = 120.0  # ours: a program that sorts or unpacks much before it writes says nothing for so long


def as_file(place: Path) -> Path:
    """Return the file or folder that `place` is, or for a pipe the copy of what came through it, in the cache.

    Raises DataError for what is neither (a socket, a device), and for a pipe into which nobody writes; DiskError for
    more than the disk can take.
    """
    mode = place.stat().st_mode
    if stat.S_ISFIFO(mode):
        return _copied(place)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        what = f"{place} is {kind_of(mode)}, not a file"
        raise DataError(what, where=str(place), fix="Write the rows into a file first", code="data.not_a_file")
    real = Path(os.path.realpath(place))
    if real.is_relative_to("/proc"):  # /proc/self/fd/N of a file leads to that file
        what = f"{place} leads to the kernel's own files, not to a file of rows"
        raise DataError(what, where=str(place), fix="Write the rows into a file first", code="data.not_a_file")
    if not place.is_relative_to("/dev") and not place.is_relative_to("/proc"):
        return place
    # /dev/stdin < FILE: another process, and a later run, find the file under its own name alone.
    return real if real.exists() and real.samefile(place) else _copied(place)


def _copied(place: Path) -> Path:
    folder = cache_dir() / "piped"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # rows may be nobody else's business
    room = int(shutil.disk_usage(folder).free * FREE_SHARE)
    partial, digest, count = folder / f"{os.getpid()}.partial", hashlib.sha256(), 0
    try:
        partial.touch(mode=0o600)
        with writing(partial), partial.open("wb") as copy:
            for block in _blocks(place):
                count += len(block)
                if count > room:
                    what = f"more than {size(room)} come through {place}: half of what the disk has free"
                    raise DiskError(
                        what,
                        where=str(folder),
                        fix="Write the rows into a file, and look at its end",
                        code="disk.too_little",
                    )
                digest.update(block)
                copy.write(block)
        # By their content: the same rows are the same data the next time, and to a run that goes on.
        return partial.rename(folder / f"{digest.hexdigest()[:16]}.jsonl")
    finally:
        partial.unlink(missing_ok=True)


def _blocks(place: Path) -> Iterator[bytes]:
    """Yield what comes through, never waiting for ever."""
    # Opened so, a FIFO that nobody writes into does not hold us; a block is read where one is there.
    pipe = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    try:
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        began = last = time.monotonic()
        read = told = False
        while True:
            try:
                block = os.read(pipe, 1 << 20)
            except BlockingIOError:
                waiting.poll(1000)
                silent = time.monotonic() - last
                if silent > 2 and not told:
                    say(f"note: waiting for what is written into {place}", err=True)
                    told = True
                if silent > SILENT_S:
                    raise _nothing(place, f"nothing came through {place} for {SILENT_S:.0f} seconds") from None
                continue
            if block:
                read, last = True, time.monotonic()
                yield block
            elif read:
                return
            elif time.monotonic() - began > FIRST_S:
                raise _nothing(place, f"nothing came through {place}: it is empty, or nobody writes into it")
            else:
                time.sleep(0.05)
    finally:
        os.close(pipe)


def _nothing(place: Path, what: str) -> DataError:
    return DataError(
        what,
        where=str(place),
        fix="Look at the command behind it, or write the rows into a file first",
        code="data.nothing_came",
    )
