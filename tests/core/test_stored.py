"""Stored files, read again: whatever comes into a file's place between a look and the opening is not waited for."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from alphaf_orch.core import stored


def test_a_pipe_that_comes_in_behind_a_look_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sft.jsonl"
    path.write_text("{}\n", encoding="utf-8")

    look = os.access  # the last one that there was before the opening

    def looked(*args: Any, **named: Any) -> bool:
        found = look(*args, **named)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(os, "access", looked)

    def waited(_number: int, _frame: object) -> None:
        pytest.fail("it was waited for")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(5)
    try:
        with stored.open_stored(path) as file:
            assert file.read() == b"{}\n"
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(stored.Unreadable, match="it is a pipe"):
            stored.open_stored(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("there", ["nothing", "below a file"])
def test_what_is_not_there_is_told_as_open_does(tmp_path: Path, there: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / ("nothing" if there == "nothing" else "file/below")
    with pytest.raises(FileNotFoundError) as raised:
        stored.open_stored(path)
    assert raised.value.filename == str(path)
