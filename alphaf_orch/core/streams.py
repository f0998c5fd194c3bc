"""Standard output and errors that outlive whoever reads them, and the log that a run keeps of its own lines.

A training of days must not die because `| less` was quit: what nobody reads is dropped. Once a run is held, what
`alphaf` says stands in its log too, for `alphaf attach` to repeat.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from alphaf_orch.core.masking import mask

# A pipe without a reader, a terminal that hung up, a descriptor that is closed.
_NOBODY = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO}
_STYLE = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]")
VIEWER_GONE = 141  # what a shell says of a program that SIGPIPE ended


class _Log:
    """The lines that are printed, as they would stand on paper: without colours, and without what was overwritten."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._begun: dict[int, bytes] = {}  # by stream: a line that is not at its end

    def add(self, stream: int, data: bytes) -> None:
        """Write what is whole of what was printed on a stream."""
        *lines, rest = (self._begun.get(stream, b"") + data).split(b"\n")
        # A live line is written over again and again.
        self._begun[stream] = rest[rest.rfind(b"\r") + 1 :]
        if lines:
            plain = b"".join(_STYLE.sub(b"", line.rstrip(b"\r").rpartition(b"\r")[2]) + b"\n" for line in lines)
            text = mask(plain.decode("utf-8", "replace")).encode()
            with contextlib.suppress(OSError):  # a disk that is full ends no run by its log; the next write says so
                os.write(self._handle, text)


_log: _Log | None = None
_lasting_now = False
_gone: set[int] = set()


class _Lasting(io.FileIO):
    """A descriptor to write to that takes everything, also when nobody reads it any more."""

    def write(self, data: object) -> int:
        """Return how much was taken: all of it where there is nobody to take it."""
        given = memoryview(data).cast("B")  # type: ignore[arg-type]
        if _log:
            _log.add(self.fileno(), bytes(given))
        if self.fileno() in _gone:
            return len(given)
        try:
            written: int | None = super().write(given)
        except OSError as error:
            if error.errno not in _NOBODY:
                raise _named(error, self.fileno()) from error
            _leave(self.fileno())
            return len(given)
        return len(given) if written is None else written


def _named(error: OSError, stream: int) -> OSError:
    """Return the error with the name of what a stream leads to: that of a write names no file, and so no disk."""
    try:
        name = str(Path(f"/proc/self/fd/{stream}").readlink())
    except OSError:
        return error
    return OSError(error.errno, error.strerror, name) if name.startswith("/") else error


def _leave(stream: int) -> None:
    """Send what is written to a stream from here on nowhere, whoever writes it: a child of ours has it too."""
    _gone.add(stream)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, stream)
    if nowhere != stream:
        os.close(nowhere)


def viewer_gone() -> bool:
    """Return whether nobody reads standard output any more."""
    return 1 in _gone


def make_lasting() -> None:
    """Put streams that last in the place of standard output and errors; all three descriptors are open then."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed by who started us: the next file that is opened would be taken for it
            _leave(number)
    global _lasting_now
    _lasting_now = True
    sys.stdout = _lasting(1, sys.stdout)
    sys.stderr = _lasting(2, sys.stderr)


def are_lasting() -> bool:
    """Return whether the streams of this process are such ones: it is a command, not a part of another program."""
    return _lasting_now


def _lasting(number: int, before: TextIO | None) -> TextIO:
    old = before if isinstance(before, io.TextIOWrapper) else None
    raw = _Lasting(number, "wb", closefd=False)
    through = bool(old and old.write_through)
    return io.TextIOWrapper(
        raw if through else io.BufferedWriter(raw),
        encoding=old.encoding if old else "utf-8",
        errors=(old.errors if old else None) or "backslashreplace",
        line_buffering=number == 2 or raw.isatty(),
        write_through=through,
    )


def keep_lines(path: Path) -> None:
    """Have all that is printed from here on stand in a log too."""
    global _log
    _log = _Log(path)


def keep_line(text: str) -> None:
    """Add a line to that log alone, where there is one: what a terminal shows in a line that it writes over."""
    if _log:
        _log.add(-1, text.encode() + b"\n")


class Unseen(io.TextIOBase):
    """A text stream that nobody sees: what is written to it stands in that log alone, where there is one."""

    def write(self, text: str) -> int:
        """Return how much was taken: all of it."""
        if _log:
            _log.add(-2, text.encode("utf-8", "backslashreplace"))
        return len(text)


@contextlib.contextmanager
def unkept() -> Iterator[None]:
    """Keep what is printed inside out of that log; what was printed before stands in it."""
    global _log
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept, _log = _log, None
    try:
        yield
    finally:
        sys.stdout.flush()
        _log = kept


def leave_viewer() -> None:
    """Print nothing more, but into the log."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for number in (1, 2):
        _leave(number)
