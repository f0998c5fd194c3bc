"""Data that come through a pipe: copied once, under a name that a later run finds, and never waited for in vain."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from data_rows import chat, line, write

from alphaf_orch.core import piped
from alphaf_orch.core.errors import DataError, DiskError
from alphaf_orch.core.paths import cache_dir
from alphaf_orch.core.piped import as_file

ROWS = line(chat()) + line(chat("이자는?"))


def left() -> list[str]:
    return [path.name for path in (cache_dir() / "piped").glob("*")]


def test_a_file_and_a_folder_stay_what_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    assert (as_file(path), as_file(tmp_path)) == (path, tmp_path)


def test_the_same_rows_have_the_same_name_each_time(tmp_path: Path) -> None:
    fifo = tmp_path / "관"
    os.mkfifo(fifo)
    found = []
    for _ in range(2):
        # In two pieces, with a pause in which nothing is there to read.
        writer = threading.Thread(target=lambda: slowly(fifo, ROWS[:100], ROWS[100:]))
        writer.start()
        found.append(as_file(fifo))
        writer.join()
    assert found[0] == found[1]
    assert found[0].read_bytes() == ROWS
    assert left() == [found[0].name]


def slowly(fifo: Path, *pieces: bytes) -> None:
    with fifo.open("wb", buffering=0) as pipe:
        for piece in pieces:
            time.sleep(0.2)
            pipe.write(piece)


def test_nobody_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piped, "FIRST_S", 0.2)
    fifo = tmp_path / "관"
    os.mkfifo(fifo)
    with pytest.raises(DataError, match=r"nothing came through .*: it is empty, or nobody writes into it"):
        as_file(fifo)
    assert left() == []


def test_a_writer_that_stays_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piped, "SILENT_S", 0.5)
    fifo = tmp_path / "관"
    os.mkfifo(fifo)
    silent = os.open(fifo, os.O_RDWR)
    try:
        with pytest.raises(DataError, match=r"nothing came through .* for 0 seconds"):
            as_file(fifo)
    finally:
        os.close(silent)
    assert left() == []


def test_more_than_the_disk_can_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphaf_orch.core.piped.shutil.disk_usage", lambda _: SimpleNamespace(free=300))
    fifo = tmp_path / "관"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: slowly(fifo, ROWS * 2))
    writer.start()
    with pytest.raises(DiskError, match="more than 150 bytes come through"):
        as_file(fifo)
    writer.join()
    assert left() == []


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(place: str) -> None:
    with pytest.raises(DataError, match=f"{place} is a device, not a file"):
        as_file(Path(place))


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
        with pytest.raises(DataError, match="is a socket, not a file"):
            as_file(tmp_path / "s")


def plan(shell: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(piped.__file__).parents[2]),
        "ALPHAF": f"{sys.executable} -m alphaf_orch",
    }
    return subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_rows_from_a_shell(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS, name="rows.jsonl")
    for shell in (
        "$ALPHAF plan --model tiny --data <(cat rows.jsonl)",
        "cat rows.jsonl | $ALPHAF plan --model tiny --data /dev/stdin",
        "$ALPHAF plan --model tiny --data /dev/stdin < rows.jsonl",
    ):
        done = plan(shell, tmp_path)
        assert done.returncode == 0, done.stderr
    copies = left()
    assert len(copies) == 1
    assert (cache_dir() / "piped" / copies[0]).read_bytes() == path.read_bytes()
    bad = plan("$ALPHAF plan --model tiny --data <(echo '{oops') --dpo-data /dev/zero", tmp_path)
    assert (bad.returncode, "error: /dev/zero is a device" in bad.stderr) == (3, True), bad.stderr
    broken = plan("$ALPHAF plan --model tiny --data <(cat rows.jsonl; echo '{oops')", tmp_path)
    assert (broken.returncode, "invalid JSON: " in broken.stderr) == (3, True), broken.stderr
