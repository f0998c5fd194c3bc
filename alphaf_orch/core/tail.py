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
_BREAKS = re.compile(r"[\t\n\u2028\u2029]+")
_ENDS = re.compile(rb"\r+(?=\n|\Z)")


class Tail:
    """The lines of a file from an offset on; each call of `new` goes on where the last one stopped."""

    def __init__(self, path: Path, begin: int = 0) -> None:
        self.path = path
        self._offset = begin
        self._held = -1  # the file as it was read last, kept open: else another one could get its number
        self._begun = b""  # a line that is not at its end

    def new(self) -> Iterator[str]:
        """Yield the lines that are whole since the last call; none where there is no file."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)  # anew: a network disk tells news only so
        except FileNotFoundError:
            return
        before, about = self._held, os.fstat(handle)
        replaced = before >= 0 and not os.path.sameopenfile(before, handle)
        self._held = handle
        if before >= 0:
            os.close(before)
        if replaced or about.st_size < self._offset:
            self._offset, self._begun = 0, b""
        while new := os.pread(handle, _PIECE, self._offset):
            self._offset += len(new)
            whole, end, rest = (self._begun + new).rpartition(b"\n")
            # A bar is written over again and again: of a line of megabytes only its last state is kept.
            self._begun = rest[rest.rfind(b"\r", 0, -1) + 1 :]
            if end:
                yield from _on_paper(whole).split("\n")

    def __del__(self) -> None:
        if self._held >= 0:
            os.close(self._held)

    def begun(self) -> str:
        """Return how the line stands that is not at its end: a progress bar, or half a line."""
        return _on_paper(self._begun)

    def rest(self) -> str:
        """Return that line and take it for whole."""
        text, self._begun = self.begun(), b""
        return text


def _on_paper(lines: bytes) -> str:
    return mask(on_paper(lines))


def on_paper(lines: bytes) -> str:
    """Return lines as they would stand on paper; secrets are for whoever shows them.

    Of many at once, for each search has its price; none looks through a line again from each of its letters.
    """
    last = lines
    if b"\r" in lines:
        last = b"\n".join(line.rpartition(b"\r")[2] for line in _ENDS.sub(b"", lines).split(b"\n"))
    return _STEERING.sub("", last.decode("utf-8", "replace"))


def one_line(text: str) -> str:
    """Return a name or an error as one line that steers no terminal: in a shared folder others choose what it says."""
    return _BREAKS.sub(" ", _STEERING.sub("", text))


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
