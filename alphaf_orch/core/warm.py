"""The warm parent as who owns it and who asks it see it: started, asked for a program, the program followed, ended.

`kept_warm` starts one parent for each tool's python and names the place in the environment, so that arms of an
experiment, which are `alphaf` themselves, ask the same one. A tool is never told of it (`command.child_env`).
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.programs.warm.families import MODULES, ROOM, ROOM_BYTES, family

# Where parents listen. No name of the user's settings, and none that every process of ours inherits.
PLACE = "_WARM_ALPHAF"
# `nohup` and a shell's `&` have a program ignore some, and so all that it starts.
_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
_MARK_OF_A_LOCK = "_ALPHAF_HOLDS_"
_PACKET = 1 << 16
_ENDING_S = 3.0
_GIVING_UP_S = 15.0  # a parent that imports looks up no earlier


class WarmLost(Exception):
    """The warm parent ended while it was asked, or while the program ran: the program is gone, and may start cold."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and the largest resident set of it and of what it waited for, as the kernel counts."""

    exit_code: int
    peak_kib: int


def place_of(folder: Path, python: str) -> Path:
    """Return where the parent of a tool's python listens."""
    return folder / hashlib.sha256(os.fsencode(python)).hexdigest()[:12]


@contextlib.contextmanager
def kept_warm(pythons: Iterable[str], env: Mapping[str, str]) -> Iterator[None]:
    """Have programs of these pythons forked of warm parents meanwhile; they end with this process however it ends.

    `env` is what the programs are to have. Where whoever started this process keeps parents, those are asked.
    """
    if PLACE in os.environ:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="alphaf-warm-"))  # mode 0700: the sockets are for this user alone
    started: list[int] = []
    try:
        started += [start(folder, python, os.getpid(), env) for python in dict.fromkeys(pythons)]
        os.environ[PLACE] = str(folder)
        yield
    finally:
        os.environ.pop(PLACE, None)
        for pid in started:
            _end(pid)
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path, python: str, owner: int, env: Mapping[str, str]) -> int:
    """Start the parent of a tool's python, which ends with the process `owner`; nothing is imported before it is asked.

    Returns its process. Its sockets are there at once: who asks early waits for the imports.
    """
    place = place_of(folder, python)
    place.mkdir(mode=0o700)
    listening = {name: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for name in MODULES}
    try:
        with _short(place) as near:
            for name, each in listening.items():
                each.bind(f"{near}/{name}")
                each.listen(64)
                each.set_inheritable(True)
        given = {key: value for key, value in env.items() if not key.startswith(_MARK_OF_A_LOCK)}
        # What it has beyond a program that starts cold: see programs/warm/likeness.py.
        added = {"PYTHONHASHSEED": "0", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
        sockets = [f"{name}={each.fileno()}" for name, each in listening.items()]
        argv = [python, "-m", "alphaf_orch.programs.warm.parent", str(place), str(owner), *sockets, " " * ROOM_BYTES]
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return os.posix_spawn(
                python, argv, {**added, **given, ROOM: " " * ROOM_BYTES}, setsid=True,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2),
                ],
            )  # fmt: skip
        finally:
            os.close(log)
    finally:
        for each in listening.values():
            each.close()


def _end(pid: int) -> None:
    """End a parent of ours, which ends its families first; one that does not is killed, and they with it."""
    with contextlib.suppress(ProcessLookupError), contextlib.suppress(ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _ENDING_S
        while time.monotonic() < end:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.01)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Yield a name of the folder that is short enough for a socket's address, which has 108 bytes."""
    handle = os.open(folder, os.O_PATH)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def begin(python: str, families: Iterable[str]) -> None:
    """Have the parent import families that will be asked for, where there is one; nobody waits for it."""
    folder = os.environ.get(PLACE)
    for name in dict.fromkeys(families) if folder else ():
        with contextlib.suppress(OSError), _connected(place_of(Path(str(folder)), python), name) as connection:
            connection.send(b"")


def passed_on() -> dict[str, str]:
    """Return what tells an `alphaf` that this one starts where its programs are forked."""
    return {PLACE: os.environ[PLACE]} if PLACE in os.environ else {}


def ask_no_more() -> None:
    """Have every further program of this process start cold."""
    os.environ.pop(PLACE, None)


def _connected(place: Path, name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short(place) as near:
            connection.connect(f"{near}/{name}")
    except BaseException:
        connection.close()
        raise
    return connection


def ask(argv: Sequence[str], env: Mapping[str, str], streams: Sequence[int], held: Sequence[int]) -> Forked | None:
    """Return the program as the warm parent starts it, None where there is no parent for it.

    `streams` become its standard input, output and errors; `held` stays open in it under the same numbers.
    """
    folder, name = os.environ.get(PLACE), family(argv[1:])
    if not folder or not name:
        return None
    place = place_of(Path(folder), argv[0])
    return ask_at(place, name, argv, env, streams, held) if place.is_dir() else None


def ask_at(
    place: Path, name: str, argv: Sequence[str], env: Mapping[str, str], streams: Sequence[int], held: Sequence[int]
) -> Forked:
    """Return the program as the family of that name starts it; raise WarmLost where nobody listens there."""
    try:
        connection = _connected(place, name)
        passed = array.array("i", [*streams, *held])
        connection.sendmsg([_request(argv[1:], env, held)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    except OSError as error:
        raise WarmLost from error
    return Forked(connection)


def _request(words: Sequence[str], env: Mapping[str, str], held: Sequence[int]) -> bytes:
    """Return all that a program gets from who starts it, but for what it has open."""
    umask = os.umask(0)
    os.umask(umask)
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    ignored = [(int(number), signal.getsignal(number) is signal.SIG_IGN) for number in _SIGNALS]
    asked = {"words": list(words), "env": dict(env), "cwd": str(Path.cwd()), "umask": umask, "held": list(held)}
    return json.dumps({**asked, "limits": limits, "signals": ignored}).encode()


class Forked:
    """A program that the warm parent was asked for: waited for, running, refused with a reason, or ended."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid: int | None = None
        self.refused: str | None = None
        self._ended: Ended | None = None
        self._lost = False

    def poll(self, seconds: float = 0.0) -> Ended | None:
        """Return how it ended, None while it runs, having waited for so long at most; raise WarmLost."""
        if self._lost:
            raise WarmLost
        if self._ended or self.refused is not None or not select.select([self._connection], [], [], seconds)[0]:
            return self._ended
        try:
            packet = self._connection.recv(_PACKET)
        except ConnectionResetError:
            packet = b""
        if not packet:
            self._connection.close()
            self._lost = True
            raise WarmLost
        told = json.loads(packet)
        self.pid = told.get("pid", self.pid)
        self.refused = told.get("cold")
        if "code" in told:
            self._ended = Ended(told["code"], told["peak_kib"])
        if self._ended or self.refused is not None:
            self._connection.close()
        return self._ended

    def give_up(self) -> None:
        """Have it not begin, where it has not: once this returns, it is running, its number known, or never will."""
        if self.pid is not None or self._lost or self.refused is not None:
            return
        self._connection.shutdown(socket.SHUT_WR)
        end = time.monotonic() + _GIVING_UP_S
        with contextlib.suppress(WarmLost, OSError):
            while self.pid is None and self.refused is None and time.monotonic() < end:
                self.poll(0.2)
