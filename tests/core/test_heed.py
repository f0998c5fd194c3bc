"""Wishes that lie in a run: which are heeded, what a look costs, and what a network disk must not hide."""

import json
import os
import signal
import threading
import time
from itertools import pairwise

import pytest
from processes import until

from alphaf_orch.core import heed, signals
from alphaf_orch.core.heed import heeding
from alphaf_orch.core.stop import of_job, read_wish, wish


@pytest.fixture
def asked(monkeypatch):
    found = []
    monkeypatch.setattr(signals, "ask", lambda *words: found.append(words))
    monkeypatch.setattr(heed, "LOOK_S", 0.05)
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "한글 런" / ".stop"


@pytest.fixture(autouse=True)
def folder(path):
    path.parent.mkdir()


def test_a_wish_is_heeded_once_however_it_is_written(path, asked):
    with heeding(path):
        wish(path, "later", "the board", seconds=60)
        until(lambda: asked, 5)
        time.sleep(0.3)
        assert asked == [("later", "the board", 60.0, False)]
        path.write_text('{"kind": "st')  # in place, and half of it
        time.sleep(0.2)
        path.write_text('{"kind": "stop", "at": "x", "why": "by hand"}')
        until(lambda: len(asked) == 2, 5)
    assert asked[1] == ("stop", "by hand", 0.0, False)
    assert [each.name for each in path.parent.iterdir()] == [".stop"]
    assert path.read_bytes() == b"", "what was heeded is gone; the file stays, as the lock does"


def test_the_same_wish_once_more_is_a_new_one(path, asked):
    wish(path, "stop", "the board")
    text = path.read_text("utf-8")
    with heeding(path):
        time.sleep(0.2)
        assert not asked
        path.unlink()
        path.write_text(text, "utf-8")
        until(lambda: asked, 5)


@pytest.mark.parametrize(
    ("job", "restart", "now", "heeded"),
    [("17", 1, "1", 1), ("17", 0, "1", 0), ("18", 1, "1", 0), ("17", None, "1", 0), ("17", None, "0", 1)],
)
def test_what_lies_there_is_heeded_only_if_it_names_this_start_of_the_job(
    job, restart, now, heeded, path, asked, monkeypatch
):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", now)
    for place in (path, of_job(path, "17")):
        wish(place, "later", "its limit", job=job, restart=restart)
        with heeding(place):
            time.sleep(0.3)
        assert len(asked) == heeded
        asked.clear()


def test_two_jobs_of_a_run_do_not_take_each_other_s_wish(path, asked, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with heeding(path):
        wish(of_job(path, "17"), "later", "17", job="17", restart=0)
        wish(of_job(path, "18"), "later", "18", job="18", restart=0)
        until(lambda: asked, 5)
        time.sleep(0.3)
    assert asked == [("later", "17", 0.0, False)]
    assert sorted(each.name for each in path.parent.iterdir()) == [".stop", ".stop.18"]


def test_one_file_is_opened_a_second_whatever_is_held(path, monkeypatch):
    opened = []
    monkeypatch.setattr(heed, "_version", lambda path: opened.append(time.monotonic()))
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with heeding(path), heeding(path), heeding(path.with_name("b")):
        before = len(opened)
        time.sleep(2.6)
        looks = list(opened[before:])
    assert 2 <= len(looks) <= 3
    assert all(later - earlier > 0.9 for earlier, later in pairwise(looks))


def test_a_folder_that_takes_nothing_is_looked_at_all_the_same(path, asked, monkeypatch):
    real = os.open

    def full(file, flags, *mode):
        if flags & os.O_CREAT and str(file) == str(path):
            raise OSError(28, "No space left on device")
        return real(file, flags, *mode)

    monkeypatch.setattr(heed.os, "open", full)
    with heeding(path):
        path.with_name("made elsewhere").write_text('{"kind": "stop"}')
        path.with_name("made elsewhere").rename(path)
        until(lambda: asked, 5)


def test_the_thread_ends_with_the_last_one_who_heeds(path, asked):
    with heeding(path):
        assert heed._thread is not None
    until(lambda: heed._thread is None, 5)


def test_odd_files_hold_no_wish(path):
    for odd in ("", "null", "[]", "{", '{"kind": 1}', '{"kind": "now"}', "[" * 5000, "9" * 5000, "\0"):
        path.write_text(odd)
        assert read_wish(path) is None
    path.write_text(json.dumps({"kind": "stop", "restart": "x", "seconds": "y", "job": 17}))
    assert (read_wish(path).restart, read_wish(path).seconds, read_wish(path).job) == (None, 0.0, "17")
    for odd in ("-5", "NaN", "Infinity", "9" * 400, "null"):
        path.write_text(f'{{"kind": "later", "seconds": {odd}}}')
        assert read_wish(path).seconds == 0.0, "half of NaN, or less than nothing, is no time to end in"


def test_a_wish_reaches_the_main_thread_while_it_waits(path):
    """In a library's process that handles no SIGUSR1, which would end it: SIGINT carries it then."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.2, signals.ask, ("later", "the board")).start()
        time.sleep(20)
