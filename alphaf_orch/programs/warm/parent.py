"""The warm parent's process: imports families of tools once, forks for every program, and ends with its owner.

Started as `python -m alphaf_orch.programs.warm.parent FOLDER OWNER FAMILY=SOCKET ... ROOM`. Nothing is imported before
somebody asks. A program is served only where it would have been the same started cold (`likeness`); who is not served
is told why and starts cold. Protocol, a packet each way: a request with its streams, `{"pid": ...}` or
`{"cold": reason}`, and once the program ended `{"code": ..., "peak_kib": ...}`.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from alphaf_orch.programs.warm import child, kernel
from alphaf_orch.programs.warm.families import MODULES
from alphaf_orch.programs.warm.likeness import ADDED, unlike

_PACKET = 1 << 18  # bytes; more than a request may have
_STREAMS = 8


class Family:
    """The imported tools and the programs that run."""

    def __init__(self, name: str, listening: socket.socket, begun: dict[str, str], imported: child.Imported) -> None:
        self.name, self.listening, self.begun, self.imported = name, listening, begun, imported
        self.refusal: str | None = None
        self.running: dict[int, tuple[socket.socket, int]] = {}  # by pidfd
        self.selector = selectors.DefaultSelector()
        self.selector.register(listening, selectors.EVENT_READ, self.accept)

    def load(self) -> None:
        """Import what is installed of the family; where no program could be forked of it, have the reason ready."""
        before, said, mapped = set(_open()), Path("/proc/self/fd/2").stat().st_size, _mapped_kib()
        try:
            for name in MODULES[self.name]:
                with contextlib.suppress(ModuleNotFoundError):
                    importlib.import_module(name)
            self.refusal = _unsafe()
        except Exception as error:  # noqa: BLE001 (whatever a tool raises at its import: started cold, it says so itself)
            self.refusal = f"the imports of {self.name} ended with {type(error).__name__}: {error}"
        mine = self.imported
        mine.added |= {
            key: value for key, value in os.environ.items() if key not in ADDED and self.begun.get(key) != value
        }
        mine.files |= set(_open()) - before
        mine.mapped_kib += _mapped_kib() - mapped
        with open("/proc/self/fd/2", "rb") as log:  # noqa: PTH123 (a descriptor)
            log.seek(said)
            mine.said += log.read()
        mine.note()
        gc.collect()
        gc.freeze()

    def accept(self, listening: socket.socket) -> None:
        """Start the program of one client, or tell it why not."""
        connection, _ = listening.accept()
        asked, streams = _received(connection)
        reason = self.refusal or unlike(asked, self.begun, self.imported)
        if reason or not _waits(connection):
            _tell(connection, {"cold": reason})
            connection.close()
        else:
            here = os.getpid()
            pid = os.fork()
            if pid == 0:
                self.selector.close()
                child.start(asked, streams, self.imported, here)
            _tell(connection, {"pid": pid})
            ended = os.pidfd_open(pid)
            self.running[ended] = (connection, pid)
            self.selector.register(ended, selectors.EVENT_READ, self.end)
            self.selector.register(connection, selectors.EVENT_READ, self.gone)
        for stream in streams:
            os.close(stream)

    def gone(self, connection: socket.socket) -> None:
        """A client that is gone takes its program with it."""
        self.selector.unregister(connection)
        pid = next(pid for one, pid in self.running.values() if one is connection)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def end(self, ended: int) -> None:
        """Tell a client how its program ended, and what the kernel counted of it."""
        connection, pid = self.running.pop(ended)
        self.selector.unregister(ended)
        os.close(ended)
        _, status, usage = os.wait4(pid, 0)
        with contextlib.suppress(KeyError):
            self.selector.unregister(connection)
        # The kernel counts what a fork has in memory, all that was imported included, but of the libraries' files only
        # what it touched itself: a cold start would have touched the rest at its imports.
        peak = usage.ru_maxrss + self.imported.mapped_kib
        _tell(connection, {"code": os.waitstatus_to_exitcode(status), "peak_kib": peak})
        connection.close()
        self._bury()

    def _bury(self) -> None:
        """Take note of orphans that ended: they are ours now."""
        known = {pid for _, pid in self.running.values()}
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in known:
                    return  # its turn comes
                os.waitpid(found.si_pid, 0)

    def serve(self) -> NoReturn:
        """Serve for ever: the end comes from outside."""
        while True:
            for key, _ in self.selector.select():
                if key in self.selector.get_map().values():  # not closed by what came before it
                    key.data(key.fileobj)


class Base(Family):
    """What all families share: it forks each of them when it is first asked for, and watches the owner."""

    def __init__(self, folder: Path, owner: int, listening: dict[str, socket.socket]) -> None:
        begun = {key: value for key, value in os.environ.items() if key not in ADDED}
        path = _own_path()
        super().__init__("base", listening.pop("base"), begun, child.Imported(path))
        self.folder, self.others, self.loaded = folder, listening, False
        self.owner, self.watched = owner, os.pidfd_open(owner)
        self.selector.register(self.watched, selectors.EVENT_READ, self.owner_ended)
        # Asked to end by the owner, and by the kernel where the owner is gone while this imports.
        signal.signal(signal.SIGTERM, lambda *_: self.owner_ended(self.watched))
        if os.getppid() == owner:
            kernel.die_with_parent(signal.SIGTERM)
        for name, each in listening.items():
            self.selector.register(each, selectors.EVENT_READ, self.forking(name))

    def accept(self, listening: socket.socket) -> None:
        """Import first what every program needs."""
        self.ready()
        super().accept(listening)

    def ready(self) -> None:
        """Import once; meanwhile the kernel tells of the owner's end."""
        if self.loaded:
            return
        self.loaded = True
        self.load()
        self.imported.launcher_added = dict(self.imported.added)

    def forking(self, name: str) -> Callable[[socket.socket], None]:
        """Return what forks the family of that name."""

        def fork(ready: socket.socket) -> None:
            self.ready()
            self.selector.unregister(ready)
            here = os.getpid()
            if os.fork():
                ready.close()
                return
            kernel.die_with_parent(signal.SIGKILL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if os.getppid() != here:
                os._exit(1)
            self.selector.close()
            os.close(self.watched)
            for other in [self.listening, *self.others.values()]:
                if other is not ready:
                    other.close()
            gc.unfreeze()
            family = Family(name, ready, self.begun, self.imported)
            kernel.adopt_orphans()
            if self.refusal is None:
                family.load()
            family.refusal = self.refusal or family.refusal
            family.serve()

        return fork

    def owner_ended(self, _owner: int) -> NoReturn:
        """End all that came of this, then this."""
        while left := kernel.descendants():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # so that what they used is counted as used by the owner's child
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # the last of the owner's parents
        os._exit(0)


def _open() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc/self/fd")]  # noqa: PTH208 (numbers, not paths)


def _mapped_kib() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssFile"].split()[0])


def _own_path() -> list[str]:
    """Return sys.path behind what PYTHONPATH put there."""
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return sys.path[len(named) :] if sys.path[: len(named)] == named else [e for e in sys.path if e not in named]


def _unsafe() -> str | None:
    """Return why no fork of this process would be as good as a cold start; None where it would be."""
    torch: Any = sys.modules.get("torch")
    if torch and (torch.version.cuda or torch.version.hip or torch.cuda.is_initialized()):
        return "its torch is built for GPUs, and no fork may share what a driver gave its parent"
    if os.fork() == 0:
        os._exit(0)
    os.wait()  # OpenBLAS ends its threads before a fork and starts them again where they are wanted
    tasks = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return f"the imports started threads ({', '.join(tasks)})" if len(tasks) > 1 else None


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a client's request and what it has open for its program; an empty one of another user."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    data, passed, _, _ = connection.recvmsg(_PACKET, socket.CMSG_SPACE(4 * _STREAMS))
    streams = array.array("i")
    for _, _, content in passed:
        streams.frombytes(content[: len(content) - len(content) % streams.itemsize])
    return (json.loads(data) if data and user == os.getuid() else {}), list(streams)


def _waits(connection: socket.socket) -> bool:
    """Return whether the client is still there: it may have given up while we imported."""
    with contextlib.suppress(BlockingIOError):
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    return True


def _tell(connection: socket.socket, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # it is gone
        connection.send(json.dumps(what).encode())


def main() -> None:
    """Listen for every family until the owner ends."""
    folder, owner, *sockets = sys.argv[1:-1]
    kernel.show_as(sys.orig_argv[:-1], {})
    listening = {name: socket.socket(fileno=int(number)) for name, number in (pair.split("=") for pair in sockets)}
    for each in listening.values():
        each.set_inheritable(False)
    kernel.adopt_orphans()
    Base(Path(folder), int(owner), listening).serve()


if __name__ == "__main__":
    main()
