"""A file that one process holds: who else wants it is told by whom it is held, a tool that was left behind included.

On one machine the kernel keeps others out (flock). Many network disks keep that to the machine it was asked on, so who
holds the file is written into it, and shows that it lives (`holder`, `heart`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core import calls
from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import DiskError, RunStateError
from alphaf_orch.core.guard import guarded, works_for
from alphaf_orch.core.heart import beating
from alphaf_orch.core.heed import heeding
from alphaf_orch.core.holder import BEAT_S, SILENT_S, Holder, holder_of, myself
from alphaf_orch.core.processes import Process, living, mark_of
from alphaf_orch.core.spoken import spoken
from alphaf_orch.core.stop import of_job, wish
from alphaf_orch.core.stored import usable

_POLL_S = 0.5
_SHORT_POLL_S = 0.02  # for what takes milliseconds
_LOOK_S = 1.0
# An earlier start of our own job, which its scheduler gave up: two signs of life that did not come. One that lives is
# asked to stop; a checkpoint is written within these seconds, a lock that a file server keeps is free (NFS: 90).
_MISSED_S = 2 * BEAT_S + 2.0
_EARLIER_S = 600.0
_TAKING_S = 10.0  # for what takes milliseconds: whoever began it on another machine is gone
# A file system that has no such lock: Lustre without its option, some FUSE and 9p mounts.
_NO_FLOCK = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


@dataclass(frozen=True)
class _Other:
    """Who keeps us from a lock, None where nobody has written himself in; whether it lives, None where that is open."""

    holder: Holder | None
    lives: bool | None
    silent_s: float = 0.0


@contextlib.contextmanager
def held(path: Path, what: str, *, to_make_room: bool = False, heed: Path | None = None) -> Iterator[int]:
    """Hold the lock and mark all that is started meanwhile; raise RunStateError, naming who, where it is in use.

    In use is what another process holds, here or on another machine, and what a process lives of that was started
    under the lock: a trainer's rank that outlived its `alphaf` still writes there. Where that `alphaf` was killed, its
    watchdog ends what is left of it, and is waited for. A holder on another machine that gives no sign of life for
    SILENT_S counts as dead; whether it does is waited for. An earlier start of our own job, which its scheduler has
    sent back to the queue, does so after two missed signs of life, and is asked to stop and waited for if it lives.
    Who wants it `to_make_room` on a disk that takes not even our name holds it by flock alone. Wishes that are put to
    `heed` (RunPaths.stop_wish) from then on are heeded.
    """
    mark = mark_of(path)
    heeds = heeding(heed) if heed else contextlib.nullcontext()
    with _taken(path, what, mark, to_make_room, heed) as handle, guarded(mark), heeds:
        os.environ[mark] = str(path)
        calls.holds(path)
        try:
            yield handle
        finally:
            del os.environ[mark]


@contextlib.contextmanager
def waited(path: Path, who: str = "", say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock as `who` once whoever has it lets go of it or ends; `say` is told, once, whom it is waited for."""
    told = say is None
    while True:
        with _tried(path, who) as got:
            if not isinstance(got, _Other):
                yield
                return
            if say and not told:
                say(got.holder.who if got.holder else "")
                told = True
        time.sleep(_POLL_S if say else _SHORT_POLL_S)


@contextlib.contextmanager
def _taken(path: Path, what: str, mark: str, to_make_room: bool, heed: Path | None) -> Iterator[int]:
    """Hold the lock, having waited for what is about to go: a watchdog's work, a holder elsewhere that may be dead."""
    first: _Other | None = None
    me, given_up = myself(), 0.0
    while True:
        before = holder_of(path)
        with _tried(path, to_make_room=to_make_room) as got:
            if not isinstance(got, _Other):
                _wait_for_the_rest(path, what, mark, before)
                yield got
                return
        if got.lives is not False and got.holder and got.holder.is_earlier_start(me):
            given_up = given_up or _ask_to_stop(what, got.holder, heed) + _EARLIER_S
            if time.monotonic() > given_up:
                raise _in_use(what, path, *_named(got, mark))
            time.sleep(_LOOK_S)
        elif got.lives is None and got.holder and got.holder.host:
            if first is None:
                _say(f"{what}: held by {got.holder}; no sign of life for {got.silent_s:.0f} s: waits to see whether it"
                     f" lives, {SILENT_S - got.silent_s:.0f} s at most")  # fmt: skip
            elif got.silent_s < first.silent_s or got.holder != first.holder:
                raise _in_use(what, path, str(got.holder))  # it lives
            first = got
            time.sleep(_LOOK_S)
        elif got.lives or not got.holder or not works_for(got.holder.pid):
            raise _in_use(what, path, *_named(got, mark))
        else:
            time.sleep(_POLL_S)


def _ask_to_stop(what: str, earlier: Holder, heed: Path | None) -> float:
    """Ask an earlier start of this job to stop, should it live; return when that was."""
    _say(f"{what}: held by an earlier start of this job ({earlier}); waits until it has ended, or is silent for"
         f" {_MISSED_S:.0f} s")  # fmt: skip
    if heed:
        job = earlier.job.rpartition(" ")[2]
        wish(of_job(heed, job), "stop", f"a later start of job {job}", job=job, restart=earlier.restart)
    return time.monotonic()


def _wait_for_the_rest(path: Path, what: str, mark: str, before: Holder | None) -> None:
    """Raise RunStateError where something lives that was started under the lock, and no watchdog ends it."""
    told = False
    while left := living(mark):
        if not (before and before.is_here() and works_for(before.pid)):
            left = living(mark)  # its last work may have been done since
            if left:
                raise _in_use(what, path, _words(left), _first(left))
            return
        if not told:
            _say(f"{what}: alphaf was killed; waits until what is left of it is ended")
            told = True
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _tried(path: Path, who: str = "", *, to_make_room: bool = False) -> Iterator[int | _Other]:
    """Yield the descriptor of the lock, held, or who has it."""
    # Unbuffered: a full disk refuses it where it is written, not when the file is closed.
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        usable(path)
        opened_file = path.open("a+b", buffering=0)
    with opened_file as file:
        free = _flocked(file.fileno())
        if not free:
            holder = holder_of(path)
            # Its children have the same lock open: it may be dead all the same.
            alive = holder.lives(0) if holder and holder.is_here() else True
            yield _Other(holder, alive)
            return
        with _alone(path, to_make_room) as now:
            holder = holder_of(path)
            silent = now - os.fstat(file.fileno()).st_mtime
            # The kernel let us in: an earlier version's number says nothing more.
            alive = holder.lives(silent) if holder and holder.host else False
            me = myself(who)
            if alive is None and holder and holder.is_earlier_start(me) and silent > _MISSED_S:
                alive = False
            if alive is not False:
                yield _Other(holder, alive, silent)
                return
            try:
                with writing(path):
                    file.truncate(0)
                    file.write(me.written())
                    os.fsync(file.fileno())  # for other machines to see
            except DiskError:
                if not to_make_room:
                    raise
                yield file.fileno()
                return
        try:
            with beating(file.fileno(), path, me):
                yield file.fileno()
        finally:
            if holder_of(path) == me:  # and nobody took it over
                file.truncate(0)


def _flocked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
    return True


@contextlib.contextmanager
def _alone(path: Path, to_make_room: bool = False) -> Iterator[float]:
    """Be the only one, on any machine, that looks into the lock and writes itself in; yield the file server's time."""
    place = path.with_name(f"{path.name}.taking")
    seen: tuple[int, int] | None = None
    begun = time.monotonic()
    handle = -1
    try:  # an interrupt once the file is there leaves none
        while handle < 0:
            try:
                with writing(place):
                    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                there = _left_there(place)
                if there != seen:
                    seen, begun = there, time.monotonic()
                elif there and time.monotonic() - begun > _TAKING_S:
                    place.unlink(missing_ok=True)
                time.sleep(_SHORT_POLL_S)
        try:
            with writing(place):
                os.write(handle, myself().written())
        except DiskError:
            if not to_make_room:
                raise
        yield os.fstat(handle).st_mtime
    finally:
        if handle >= 0:
            os.close(handle)
            place.unlink(missing_ok=True)


def _left_there(place: Path) -> tuple[int, int] | None:
    """Return which file is there; where who made it was killed in these milliseconds, it is removed."""
    try:
        holder, found = holder_of(place), place.stat()
        if holder and holder.is_here() and holder.lives(0) is False:
            place.unlink()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _named(other: _Other, mark: str) -> tuple[str, str]:
    """Return who has a lock, and the numbers that would have to be ended; who is dead left it to its children."""
    if other.holder and other.holder.is_here() and other.lives is not False and other.holder.host:
        return str(other.holder), str(other.holder.pid)
    left = living(mark)
    if left:
        return _words(left), _first(left)
    return (str(other.holder) if other.holder and other.holder.host else "a process of another user or machine"), ""


def _outer(processes: Sequence[Process]) -> list[Process]:
    numbers = {process.pid for process in processes}
    return [process for process in processes if process.parent not in numbers]  # the others go with them


def _words(by: Sequence[Process]) -> str:
    first = _outer(by)[:3]
    names, count = ", ".join(map(str, first)), len(by) - len(first)
    return f"{names} and {count} more" if count > 0 else names


def _first(by: Sequence[Process]) -> str:
    return " ".join(str(process.pid) for process in _outer(by))


def _in_use(what: str, path: Path, by: str, numbers: str = "") -> RunStateError:
    end = f" (kill {numbers})" if numbers else ""
    return RunStateError(
        f"{what} is in use (by {by})",
        where=str(path.parent),
        fix=f"wait for that, or end it{end}; then the same command goes on where it stopped",
        code="run.in_use",
    )


def _say(text: str) -> None:
    print(spoken(text), file=sys.stderr, flush=True)
