"""A JSON Lines file read in parts, by as many processes as there are cores; its parts add up to the whole."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path

from alphaf_orch.inputs.row_check import Part, read_part
from alphaf_orch.programs.mistakes import Unit
from alphaf_orch.programs.rows import Format, Kind

# Ours: a second of reading by one process. Below it, to start another one (0.2 s) gains next to nothing.
PART_BYTES = 32 << 20
MAX_PARTS = 8  # ours: 40 MB of memory each


def read_whole(
    file: Path, size: int, want: Kind, form: Format | None, unit: Unit = "line", name: Path | None = None
) -> tuple[list[Part], str]:
    """Return what is found of a file's parts, in their order, and the SHA-256 of its bytes.

    A file whose format is not known yet is one part. Ctrl-C ends the processes before it is raised.
    """
    count = max(1, min(len(os.sched_getaffinity(0)), MAX_PARTS, size // PART_BYTES)) if form else 1
    # The last part goes on to the end of the file, however long it has become.
    ends = [*(size * (n + 1) // count for n in range(count - 1)), sys.maxsize]
    asked = [(file, start, end, want, form, unit, name) for start, end in zip([0, *ends], ends, strict=False)]
    if count == 1:
        return [read_part(*asked[0])], _sha256(file)
    with _readers(asked) as readers:
        digest = _sha256(file)
        return [_answer(reader) or read_part(*one) for reader, one in zip(readers, asked, strict=True)], digest


Asked = tuple[Path, int, int, Kind, Format | None, Unit, Path | None]


@contextmanager
def _readers(asked: list[Asked]) -> Iterator[list[Connection]]:
    """Yield where the parts come from, each read by a process of its own; none of them is left behind."""
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # started with the first process, it would let Ctrl-C through to that one
    processes, readers = [], []
    try:
        for one in asked:
            reader, writer = context.Pipe(duplex=False)
            readers.append(reader)
            processes.append(context.Process(target=_read, args=(writer, *one), daemon=True))
            # Ctrl-C goes to all processes of a terminal, and is this one's to answer: the new one never hears of it.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                processes[-1].start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            writer.close()
        yield readers
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()
        for reader in readers:
            reader.close()


def _read(answer: Connection, *asked: object) -> None:
    try:
        answer.send(read_part(*asked))  # type: ignore[arg-type]
    except OSError:
        # Nobody asks any more, or the file cannot be read: who asked finds no answer, and reads it himself.
        return


def _answer(reader: Connection) -> Part | None:
    """Return the part that a process found, or None where it ended without an answer."""
    try:
        part: Part = reader.recv()
    except EOFError:
        return None
    return part


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
