"""Child program: ends what a killed `alphaf` leaves behind. And, for both, how the processes under a mark are found.

Started as `python -I -S guard.py OWNER PIPE SECONDS`; forks itself out of its starter's family and group. On the pipe
`+MARK<tab>LOG` is to be guarded, `-MARK` no more, and `!JSON` names a program that is OWNER's last word. Once the
process OWNER is gone, what lives under a mark that is still guarded gets SIGINT (a trainer saves a checkpoint where it
can), and SIGKILL so many seconds later. It ends then, or becomes the last word, and never outlives them. It imports
nothing of ours and little of python's: it is started beside every training.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

KILLED_S = 3.0
_LOOK_S = 1.0  # a rank that leaves its family and its environment is known from the look before
_SOON_S = 0.1

Seen = tuple[int, int]  # number and birth, in clock ticks since the machine started: numbers are given again


class Marked:
    """The living processes under a mark: those that have it, write to the log, or came of one that was seen so."""

    def __init__(self, mark: str, log: str = "") -> None:
        self._needle = b"\0" + os.fsencode(mark) + b"="
        self._log = log
        self.known: set[Seen] = set()
        self._once: set[Seen] = set()
        self._others: set[Seen] = set()
        self._sessions: set[int] = set()
        self.parents: dict[int, int] = {}

    def look(self) -> set[Seen]:
        """Return them as they are now, zombies aside; those of other users are not seen."""
        born: dict[int, int] = {}
        sessions: dict[int, int] = {}
        self.parents = {}
        found: set[int] = set()
        for name in os.listdir("/proc"):  # noqa: PTH208  (pathlib takes longer than all the rest of this program)
            fields = stat_fields(name)
            if not fields or fields[0] in b"ZX":
                continue
            pid = int(name)
            self.parents[pid], sessions[pid], born[pid] = int(fields[1]), int(fields[3]), int(fields[19])
            seen = (pid, born[pid])
            if seen in self.known or (seen not in self._others and self._tied(name)):
                found.add(pid)
            elif seen in self._once:
                self._others.add(seen)  # it never will be: what it starts from now on is tied by its own tie
            else:
                self._once.add(seen)  # it may not be what it is started for yet
        new = found | {pid for pid, session in sessions.items() if session in self._sessions}
        found = set(new)
        while new:
            new = {pid for pid, parent in self.parents.items() if parent in new} - found
            found |= new
        found.discard(os.getpid())
        self._sessions = {pid for pid in found if sessions[pid] == pid} | {
            session for session in self._sessions if session in sessions.values()
        }
        living = set(born.items())
        self._once &= living
        self._others &= living
        self.known = {(pid, born[pid]) for pid in found}
        return self.known

    def _tied(self, pid: str) -> bool:
        with contextlib.suppress(OSError):  # it ended while we looked, or is another user's
            with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
                if self._needle in b"\0" + file.read():
                    return True
            return bool(self._log) and os.readlink(f"/proc/{pid}/fd/1") == self._log  # noqa: PTH115
        return False


def stat_fields(pid: str) -> list[bytes]:
    """Return what /proc/PID/stat says behind the name; nothing where it is no process, or gone."""
    if not pid.isdigit():
        return []
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def birth(pid: int) -> int:
    """Return when a living process was born, 0 where there is none of that number."""
    fields = stat_fields(str(pid))
    return int(fields[19]) if fields and fields[0] not in b"ZX" else 0


def _send(seen: Seen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(seen[0], number)


def _end(marked: list[Marked], asked_s: float) -> None:
    """Ask all that is left to end, and kill what has not; nothing of it lives on, but for what the kernel holds."""
    asked: set[Seen] = set()
    begun = time.monotonic()
    while time.monotonic() < begun + asked_s + KILLED_S:
        # Twice: one that is born while we look, of a parent that dies meanwhile, is met by the second look.
        left = {seen for each in marked for seen in each.look()} or {seen for each in marked for seen in each.look()}
        if not left:
            return
        hard = time.monotonic() > begun + asked_s
        for seen in left if hard else left - asked:
            _send(seen, signal.SIGKILL if hard else signal.SIGINT)
        asked |= left
        time.sleep(_SOON_S)


def _guard(owner: int, pipe: int, asked_s: float) -> None:
    """Look after the marks that are told until the owner is gone, and end what is left under them then."""
    guarded: dict[str, Marked] = {}
    half, looked, told, last = b"", 0.0, True, ""
    while True:
        ready, _, _ = select.select([owner, *([pipe] if told else [])], [], [], _LOOK_S if guarded else None)
        # What was said before the end is read to its last word.
        while told and select.select([pipe], [], [], 0)[0]:
            words = os.read(pipe, 1 << 16)
            told = bool(words)
            *lines, half = (half + words).split(b"\n")
            for line in map(os.fsdecode, lines):
                mark, _, log = line[1:].partition("\t")
                if line.startswith("!"):
                    last = line[1:]
                elif line.startswith("+"):
                    guarded[mark] = Marked(mark, log)
                else:
                    guarded.pop(mark, None)
        if owner in ready:
            break
        if time.monotonic() - looked > _LOOK_S:
            looked = time.monotonic()
            for each in guarded.values():
                each.look()
    _end(list(guarded.values()), asked_s)
    if last:
        _become(last)


def _become(last: str) -> None:
    """Become the owner's last word: a program and the folder that it is started in."""
    import json

    argv, folder = json.loads(last)
    with contextlib.suppress(OSError):  # the folder, or the python, is gone: nobody is left to say so to
        os.chdir(folder)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        os.execv(argv[0], argv)


def main() -> None:
    """Leave the family and the group of who started this, then guard until it is gone."""
    owner = os.pidfd_open(int(sys.argv[1]))  # before the starter may go on
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # its end is that of what it guards
    _guard(owner, int(sys.argv[2]), float(sys.argv[3]))
    os._exit(0)


if __name__ == "__main__":
    main()
