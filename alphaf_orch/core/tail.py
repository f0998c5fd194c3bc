"""The lines of a log, as they would stand on paper, of a file that may not be there yet, grow, be cut or be replaced.

What is overwritten in a line (a progress bar), colours and whatever else steers a terminal are left out, bytes that are
no UTF-8 are shown as such, and secrets are masked: a log is masked in place a moment after it is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.core.masking import mask

_PIECE = 1 << 20
_STEERING = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class Tail:
    """The lines of a file from an offset on; each call of `new` goes on where the last one stopped."""

    def __init__(self, path: Path, begin: int = 0) -> None:
        self.path = path
        self._offset = begin
        self._file: tuple[int, int] | None = None  # which one it is
        self._begun = b""  # a line that is not at its end

    def new(self) -> Iterator[str]:
        """Yield the lines that are whole since the last call; none where there is no file."""
        try:
            with self.path.open("rb") as file:
                about = os.fstat(file.fileno())
                which = (about.st_dev, about.st_ino)
                if (self._file not in (None, which)) or about.st_size < self._offset:  # replaced, or cut
                    self._offset, self._begun = 0, b""
                self._file = which
                file.seek(self._offset)
                while new := file.read(_PIECE):
                    self._offset += len(new)
                    *lines, rest = (self._begun + new).split(b"\n")
                    # A bar is written over again and again: of a line of megabytes only its last state is kept.
                    self._begun = rest[rest.rfind(b"\r", 0, -1) + 1 :]
                    yield from map(_on_paper, lines)
        except FileNotFoundError:
            return

    def begun(self) -> str:
        """Return how the line stands that is not at its end: a progress bar, or half a line."""
        return _on_paper(self._begun)

    def rest(self) -> str:
        """Return that line and take it for whole."""
        text, self._begun = self.begun(), b""
        return text


def _on_paper(line: bytes) -> str:
    return mask(on_paper(line))


def on_paper(line: bytes) -> str:
    """Return a line as it would stand on paper; its secrets are for whoever shows it."""
    text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
    return _STEERING.sub("", text)


def last_lines(path: Path, count: int) -> int:
    """Return where the last so many lines of a file begin; 0 where it has fewer, or is not there."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            if not count:
                return end
            if end:
                file.seek(end - 1)
                count += file.read(1) == b"\n"  # the end of the last line begins none
            while end > 0 and count > 0:
                begin = max(0, end - _PIECE)
                file.seek(begin)
                piece = file.read(end - begin)
                at = len(piece)
                while count > 0:
                    at = piece.rfind(b"\n", 0, at)
                    if at < 0:
                        break
                    count -= 1
                if count == 0:
                    return begin + at + 1
                end = begin
    except FileNotFoundError:
        pass
    return 0
