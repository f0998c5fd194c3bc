"""Lines of a file of rows, none longer than a row can be: a file without an end of line is not taken into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

# Ours: a million tokens, the longest that models of 2026 read, are some 4 MB of Korean.
LINE_BYTES = 64 << 20


class LongLineError(ValueError):
    """A line that no row is as long as; `number` is its own."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the line is longer than {LINE_BYTES >> 20} MiB, which no row is")
        self.number = number


def bounded_lines(stream: IO[bytes], before: int = 0) -> Iterator[bytes]:
    """Yield the lines of a stream that has `before` lines in front; raise LongLineError for one that is too long."""
    number = before
    while line := stream.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise LongLineError(number)
        yield line
