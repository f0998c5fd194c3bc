"""A board put on a port of 127.0.0.1, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from alphaf_orch.board.access import Token
from alphaf_orch.board.server import Board
from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.file_kinds import why_not
from alphaf_orch.core.masking import mask
from alphaf_orch.core.paths import runs_dir

_HOST = "127.0.0.1"
# Ours: a folder of some hundred runs is read before its page is opened; what takes longer is read while it is.
_FIRST_LOOKS_S = 4.0
_END_S = 3.0
# Ours: a browser has six to a host, and a process may have 1024 files open on most machines.
MOST_CONNECTIONS = 100


def serve(port: int, say: Callable[[str, int], None], *, control: bool) -> None:
    """Serve a board until KeyboardInterrupt ends it; `say` is told its token and port. 0 is any port that is free.

    Raises ConfigError for a port that somebody else has, or that may not be taken.
    """
    with served(port, control=control) as (board, taken, thread):
        say(board.token.value, taken)
        while thread.is_alive():
            thread.join(0.5)
    raise RunStateError(
        "the board ended by itself", where=f"{_HOST}:{taken}", fix="give the same command again", code="run.board_ended"
    )


@contextlib.contextmanager
def served(port: int, *, control: bool) -> Iterator[tuple[Board, int, threading.Thread]]:
    """Have a board answer on a port meanwhile; yield it, its port, and the thread that lives as long as it does."""
    _refuse_unreadable(runs_dir())
    with _bound(port) as listening:
        board = Board(Token(), control=control)
        board.read_all(_FIRST_LOOKS_S)
        _tell_errors()
        server = uvicorn.Server(
            uvicorn.Config(
                board.app, log_config=None, access_log=False, server_header=False, lifespan="off", ws="none",
                proxy_headers=False,
                loop="asyncio", http=_Connection, backlog=32, timeout_graceful_shutdown=1, timeout_keep_alive=75,
            )
        )  # fmt: skip
        # In a thread of its own: there it leaves the signals alone, which are ours.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="board", daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield board, listening.getsockname()[1], thread
        finally:
            server.should_exit = True
            thread.join(_END_S)


def _refuse_unreadable(root: Path) -> None:
    """Raise RunStateError where the folder of all runs is there and cannot be read: it would look like an empty one."""
    try:
        os.scandir(root).close()
    except FileNotFoundError:
        return
    except OSError as error:
        what = f"the folder of all runs cannot be read: {why_not(error)}"
        raise RunStateError(
            what, where=str(root), fix="set ALPHAF_RUNS to the folder that is meant", code="run.unreadable"
        ) from None


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # So that a port is free again at once when its board has ended; a living one keeps it all the same.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        why = {
            errno.EADDRINUSE: f"port {port} is in use, by another board perhaps",
            errno.EACCES: f"port {port} may not be taken by you: those below 1024 are the system's",
        }
        if error.errno not in why:
            raise
        fix = "name another one with --port, or none: then a free one is taken"
        raise ConfigError(why[error.errno], where=f"{_HOST}:{port}", fix=fix, code="config.port_unusable") from None
    listening.setblocking(False)
    return listening


class _Connection(H11Protocol):
    """One of so many: another user of the machine has no token, and can open them and say nothing all the same."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, and close the oldest one that is not being answered where it is one too many."""
        super().connection_made(transport)
        self.since = time.monotonic()
        others = [each for each in self.connections if isinstance(each, _Connection) and each is not self]
        if len(others) < MOST_CONNECTIONS:
            return
        idle = [each for each in others if each.cycle is None or each.cycle.response_complete]
        oldest = min(idle or [self], key=lambda each: each.since)
        self.connections.discard(oldest)  # at once: others are taken before it is told that it is lost
        oldest.transport.abort()


class _Errors(logging.Handler):
    """Says in one line what failed in the server."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        if record.exc_info and record.exc_info[1] is not None:
            _tell(record.exc_info[1])
        else:
            sys.stderr.write(f"error: the board: {mask(record.getMessage())}\n")


def _tell(error: BaseException) -> None:
    """Say in one line what failed; the stack trace goes to a file."""
    try:
        handle, kept = tempfile.mkstemp(prefix="alphaf-", suffix=".trace")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(mask("".join(traceback.format_exception(error))))
    except OSError as none:  # a full disk: what failed is said all the same, and the board goes on
        kept = f"none ({why_not(none)})"
    sys.stderr.write(f"error: the board failed at one request: {mask(repr(error))}; trace: {kept}\n")


def _tell_errors() -> None:
    threading.excepthook = lambda lost: _tell(lost.exc_value) if lost.exc_value else None
    for name in ("uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Errors(logging.ERROR)], False
        logger.setLevel(logging.ERROR)
