"""The lines of a log, whatever becomes of its file and whatever stands in it."""

from __future__ import annotations

import time

import pytest

from alphaf_orch.core.masking import mask
from alphaf_orch.core.tail import Tail, last_lines, on_paper


@pytest.fixture
def log(tmp_path):
    return tmp_path / "로그 1.log"


def test_a_file_that_comes_later_and_grows(log):
    tail = Tail(log)
    assert list(tail.new()) == []
    log.write_bytes(b"one\ntw")
    assert (list(tail.new()), tail.begun()) == (["one"], "tw")
    with log.open("ab") as file:
        file.write(b"o\nthree")
    assert (list(tail.new()), tail.rest(), tail.rest()) == (["two"], "three", "")


def test_a_letter_that_is_written_in_two_halves_is_one(log):
    tail, data = Tail(log), "손실 0.5\n".encode()
    with log.open("ab", buffering=0) as file:
        file.write(data[:4])
        assert list(tail.new()) == []
        file.write(data[4:])
    assert list(tail.new()) == ["손실 0.5"]


def test_what_is_no_utf_8_and_what_steers_a_terminal(log):
    log.write_bytes(b"\xff\xfe bad\n\x1b[31mred\x1b[0m\x1b]0;title\x07 \x1b[2Jgone\x00\x08\ttab\n\x1b]8;;x\n")
    assert list(Tail(log).new()) == ["\ufffd\ufffd bad", "red gone\ttab", ""]


def test_of_a_progress_bar_the_last_state_is_shown(log):
    tail = Tail(log)
    log.write_bytes(b"\r 10%\r 20%")
    assert (list(tail.new()), tail.begun()) == ([], " 20%")
    with log.open("ab") as file:
        file.write(b"\r 30%\r")
    assert (list(tail.new()), tail.begun()) == ([], " 30%")
    with log.open("ab") as file:
        file.write(b"\r100%\r\nnext\r\n")
    assert list(tail.new()) == ["100%", "next"]


@pytest.mark.parametrize("how", ["cut", "replaced", "gone and there again"])
def test_a_file_that_is_cut_or_replaced_is_read_from_its_beginning(log, how):
    tail = Tail(log)
    log.write_bytes(b"old and long\nhalf")
    assert list(tail.new()) == ["old and long"]
    if how == "replaced":
        other = log.with_name("other")
        other.write_bytes(b"new, and longer than the old one ever was\n")
        other.replace(log)
    elif how == "cut":
        log.write_bytes(b"new\n")
    else:
        log.unlink()
        assert list(tail.new()) == []
        log.write_bytes(b"new\n")
    assert [line[:3] for line in tail.new()] == ["new"]


def test_a_secret_is_masked_and_what_is_masked_stays_as_it_is(log, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)
    text = f"token hf_{'a' * 30} password=*** https://user:********@host/ api_key=*****"
    log.write_text(text + "\n")
    [shown] = Tail(log).new()
    assert "aaa" not in shown and mask(shown) == shown and "password=***" in shown


@pytest.mark.parametrize("text", [b"", b"\n", b"a", b"a\n", b"a\nb", b"a\nb\n", b"a\n\nb\n", b"\n\n\n", b"x\ny\nz\n"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("piece", [1, 2, 3, 1 << 20])
def test_the_last_lines_are_those_that_tail_shows(log, text, count, piece, monkeypatch):
    monkeypatch.setattr("alphaf_orch.core.tail._PIECE", piece)
    log.write_bytes(text)
    lines = text.splitlines(keepends=True)
    expected = b"".join(lines[max(0, len(lines) - count) :])
    assert text[last_lines(log, count) :] == expected


def test_of_a_file_that_is_not_there_the_last_lines_begin_at_its_beginning(log):
    assert last_lines(log, 5) == 0


@pytest.mark.parametrize("behind", [b"", b"\rlast"])
def test_a_line_without_an_end_costs_no_more_than_its_length(behind):
    """A letter more was a search more through all that followed: 6 s for these, hours for a megabyte."""
    begun = time.process_time()
    on_paper(b"x" * 200_000 + b"\n" + b"y" * 200_000 + behind)
    assert time.process_time() - begun < 1
