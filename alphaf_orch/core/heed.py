"""Wishes that lie in a run while this process works on it: looked for once a second, and heeded as a signal is.

Whatever it does then, waiting and evaluating included, is stopped by what a signal stops it with (core.signals).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core import signals
from alphaf_orch.core.holder import restart_of, slurm_job
from alphaf_orch.core.stop import Wish, of_job, wish_of

LOOK_S = 1.0  # one file each time, one after the other
_SIZE = 1 << 16  # a wish has some hundred bytes

Version = tuple[int, int, bytes]  # of a file: which one, when it was written, what it says


@dataclass
class _Place:
    """A file that is looked at: how many ask for it, and what of it is known already."""

    users: int = 0
    known: Version | None = None
    heeded: Version | None = None


_change = threading.Condition()
_places: dict[Path, _Place] = {}
_of_jobs: set[Path] = set()  # nobody looks for them once the job has ended
_thread: threading.Thread | None = None


@contextlib.contextmanager
def heeding(path: Path) -> Iterator[None]:
    """Have this process stop, or make room, where that is wished at `path` (RunPaths.stop_wish) from now on.

    What lies there already was meant for others, unless it names the job that this process is part of; what lies
    there for that job in a file of its own is heeded too.
    """
    job = slurm_job(os.environ)
    paths = [path, of_job(path, job)] if job else [path]
    _of_jobs.update(paths[1:])
    for each in paths:
        _look_at(each)
    try:
        yield
    finally:
        for each in paths:
            _look_no_more(each)


def _look_at(path: Path) -> None:
    global _thread
    with _change:
        place = _places.setdefault(path, _Place())
        place.users += 1
        if place.users > 1:
            return
        place.known = _version(path)
        found = wish_of(place.known[2]) if place.known else None
        if found and found.job and (found.restart is not None or not restart_of(os.environ)):
            place.known = None  # whether it is for this job is for the first look to say; else it is an earlier start's
        if _thread is None:
            _thread = threading.Thread(target=_watch, name="wishes", daemon=True)
            _thread.start()
        _change.notify_all()


def _look_no_more(path: Path) -> None:
    with _change:
        place = _places[path]
        place.users -= 1
        if place.users:
            return
        del _places[path]
        _change.notify_all()
        with contextlib.suppress(OSError):
            now = _version(path)
            if now and now == place.heeded:
                os.truncate(path, 0)
            if now and path in _of_jobs and not path.stat().st_size:
                path.unlink()


def _watch() -> None:
    global _thread
    turn = 0
    with _change:
        while _places:
            path = list(_places)[turn % len(_places)]
            turn += 1
            _look(path, _places[path])
            _change.wait(LOOK_S)
        _thread = None


def _look(path: Path, place: _Place) -> None:
    found = _version(path)
    if not found or found == place.known:
        return
    wish = wish_of(found[2])
    if wish is None:  # nothing yet, or half of it
        return
    place.known = found
    if _is_ours(wish):
        place.heeded = found
        signals.ask(wish.kind, wish.why or str(path), wish.seconds, wish.limit)


def _is_ours(wish: Wish) -> bool:
    if not wish.job:
        return True
    return wish.job == slurm_job(os.environ) and wish.restart in (None, restart_of(os.environ))


def _version(path: Path) -> Version | None:
    """Return what lies there, as the file server has it; None where nothing can be read.

    Opened as if to be made: else a client of a network disk that once saw no such file believes so for a minute
    (nfs(5), acdirmax and lookupcache), while one that is there is asked for at each opening (close-to-open).
    """
    with contextlib.suppress(OSError):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError:  # a full disk, a folder of another user
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            about = os.fstat(handle)
            return about.st_ino, about.st_mtime_ns, os.read(handle, _SIZE)
        finally:
            os.close(handle)
    return None
