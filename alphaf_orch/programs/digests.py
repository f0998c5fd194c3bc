"""What identifies a file: the SHA-256 over the SHA-256 of each of its pieces of 64 MiB.

Pieces are read side by side, so that one large file keeps several cores busy.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

PIECE_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20  # what a core holds in memory
_SMALL_BYTES = 1 << 20  # threads cost more than they save


def digests(files: Sequence[Path], sizes: Sequence[int] | None = None, threads: int | None = None) -> list[str]:
    """Return the digest of each file, in order, every byte read up to the given sizes; raise OSError."""
    ends = [file.stat().st_size for file in files] if sizes is None else sizes
    pieces = [
        (n, start, min(start + PIECE_BYTES, end)) for n, end in enumerate(ends) for start in range(0, end, PIECE_BYTES)
    ]
    whole = [hashlib.sha256() for _ in files]
    read = _read([(files[n], start, end) for n, start, end in pieces], threads)
    for (n, _, _), digest in zip(pieces, read, strict=True):
        whole[n].update(digest)
    return [digest.hexdigest() for digest in whole]


def _read(pieces: Sequence[tuple[Path, int, int]], threads: int | None) -> list[bytes]:
    """Return the SHA-256 of each piece, as many at a time as there are cores: hashlib lets other threads run."""
    if len(pieces) < 2 or all(end <= _SMALL_BYTES for _, _, end in pieces):
        return [_piece(*piece) for piece in pieces]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)))
    try:
        return list(pool.map(lambda piece: _piece(*piece), pieces))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest


def _piece(file: Path, start: int, end: int) -> bytes:
    digest = hashlib.sha256()
    for block in blocks(file, start, end):
        digest.update(block)
    return digest.digest()


def blocks(file: Path, start: int, end: int) -> Iterator[memoryview]:
    """Yield the bytes of a file from `start` to `end`; a block is overwritten by the next one."""
    buffer = memoryview(bytearray(min(_BLOCK_BYTES, max(0, end - start))))
    with file.open("rb", buffering=0) as content:
        content.seek(start)
        while start < end and (count := content.readinto(buffer[: end - start])):
            start += count
            yield buffer[:count]
