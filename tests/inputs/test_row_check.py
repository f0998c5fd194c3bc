"""The short way of the first reading: it says of every row what the exact way says, in one process or in several."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_rows import PAIR, chat, line, sharegpt, write

from alphaf_orch.core.errors import DataError
from alphaf_orch.inputs import parts
from alphaf_orch.inputs.data import check_file
from alphaf_orch.inputs.row_check import Part, _Checker
from alphaf_orch.programs.mistakes import Mistakes
from alphaf_orch.programs.rows import Format

TEXTS = (
    "기준금리란?",
    '따옴표 "셋" \\ 하나',
    "",
    " \n",
    "\u200b",
    "가\u200b",
    "é" * 3,
    "ê°€",
    "\ufffd",
    "금리",
    "\x1f",
)
KEYS = ("id", "meta", "train", "weight", "system", "prompt", "tools", "chosen", "messages", "name", 'a"b')
VALUES = (None, 0, 1, True, 1.5, "x", 'x"y', [], {}, ["a", {"b": 'c"'}], [{"role": "user", "content": "뭐?"}])


def some_row(random: random.Random) -> bytes:
    """Return a line that is a good row, or one with a mistake or an oddity of any kind."""
    row: dict[str, Any] = random.choice((chat, chat, sharegpt, lambda: chat(id=1), lambda: dict(PAIR)))()
    turns = row.get("messages") or row.get("conversations") or []
    if turns and random.random() < 0.3:
        names = {"role": "system"} if "role" in turns[0] else {"from": "system"}
        turns.insert(0, {**turns[0], **names})
    for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
        place = random.choice([row, *(turn for turn in turns if isinstance(turn, dict))])
        key = random.choice((*KEYS, *place))
        change = random.randrange(4)
        if change == 0:
            place[key] = random.choice(VALUES)
        elif change == 1:
            place[random.choice((*place, "id"))] = random.choice((*TEXTS, *VALUES, "system", "user", "gpt"))
        elif change == 2:
            place.pop(key, None)
        else:
            turns.append(random.choice((*turns, "turn")))
    raw = json.dumps(row, ensure_ascii=random.random() < 0.3).encode()
    odd = random.random()
    if odd < 0.05:
        raw = raw.replace(b"{", b'{"role": "user", ', random.choice((1, 2)))
    elif odd < 0.08:
        raw = raw.replace(b"\\u", b"\\ud83d\\u", 1)
    elif odd < 0.12:
        raw = raw.replace(b"\xea", b"\\u0022\xea")
    elif odd < 0.14:
        raw = raw[: random.randrange(len(raw))]
    elif odd < 0.15:
        raw = raw.replace(b"1", b"NaN")
    return raw + random.choice((b"\n", b"\r\n", b" \n"))


def counted(raw: bytes, form: Format, *, short: bool) -> Part | None:
    """Return what one way finds of a line; None where the short way leaves it to the exact one."""
    part = Part(Mistakes("가"), form, lines=1)
    checker = _Checker(part, "chat")
    if short:
        return part if checker.usual(raw) else None
    checker.exact(raw)
    return part


@pytest.mark.parametrize("form", ["messages", "conversations"])
def test_the_short_way_says_what_the_exact_way_says(form: Format) -> None:
    source, short, mistakes = random.Random(f"{form} 1"), 0, 0
    for _ in range(15_000):
        raw = some_row(source)
        exact = counted(raw, form, short=False)
        quick = counted(raw, form, short=True)
        assert exact is not None
        mistakes += len(exact.mistakes)
        if quick is not None:
            short += 1
            assert vars(quick.mistakes)["first"] == exact.mistakes.first == [], raw
            assert vars(quick.quality) == vars(exact.quality), raw
            same = {"mistakes": exact.mistakes, "quality": exact.quality}
            assert replace(quick, **same) == exact, raw
    # Both ways were gone, and rows of both kinds seen.
    assert short > 1500
    assert mistakes > 4000


def test_escaped_quotation_marks_hide_no_key_that_is_given_twice() -> None:
    raw = line(chat('"가"')).replace(b'\\"', b"\\u0022").replace(b'"role"', b'"role": 1, "role"', 1)
    assert counted(raw, "messages", short=True) is None
    exact = counted(raw, "messages", short=False)
    assert exact is not None
    assert exact.mistakes.first[0].what == "invalid JSON: key 'role' is given twice"


@pytest.mark.parametrize(
    "raw",
    [
        line(chat(id=1, meta={"a": ["b", 'c"d'], 'e"': None})),
        line({"messages": [{"role": "system", "content": "상담원"}, *chat()["messages"], *chat()["messages"]]}),
        json.dumps(chat('"따옴표"', "a\\b\n")).encode(),
    ],
)
def test_rows_that_people_have_go_the_short_way(raw: bytes) -> None:
    assert counted(raw, "messages", short=True) is not None


def many(folder: Path, rows: int, *, bad: tuple[int, ...] = (), last: bytes = b"") -> Path:
    blank = line(chat(answer=" "))
    lines = (blank if n in bad else b"\n" if n % 10 == 7 else line(chat(f"질문 {n}", id=n)) for n in range(1, rows + 1))
    return write(folder, *lines, last)


def read_by(monkeypatch: pytest.MonkeyPatch, path: Path, processes: int) -> list[Part]:
    monkeypatch.setattr(parts, "PART_BYTES", path.stat().st_size // processes)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processes)))
    return parts.read_whole(path, path.stat().st_size, "chat", "messages")[0]


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many(tmp_path, 500)
    (whole,) = read_by(monkeypatch, path, 1)
    three = read_by(monkeypatch, path, 3)
    assert [part.rows > 100 for part in three] == [True] * 3
    for key in ("lines", "size", "rows", "turns", "systems"):
        assert sum(getattr(part, key) for part in three) == getattr(whole, key), key
    assert [digest for part in three for digest in part.digests] == list(whole.digests)
    assert (whole.lines, whole.size) == (500, path.stat().st_size)


def test_lines_are_numbered_through_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = (3, 170, 171, 340, 499)
    path = many(tmp_path, 500, bad=bad)
    monkeypatch.setattr(parts, "PART_BYTES", path.stat().st_size // 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    with pytest.raises(DataError) as caught:
        check_file(path, "chat")
    assert caught.value.what.splitlines() == [
        "5 lines that must not be trained on by kind:",
        "  messages[].content is blank (5)",
        *(f"    line {number}, key messages[1].content" for number in bad),
    ]
    broken = many(tmp_path, 500, bad=(3,), last=line(chat("끝")).replace("끝".encode(), b"\xb1\xe2"))
    with pytest.raises(DataError) as caught:
        check_file(broken, "chat")
    at = broken.read_bytes().index(b"\xb1\xe2")
    assert caught.value.where == f"{broken} line 501, byte offset {at}"


def test_a_process_that_dies_is_no_hole_in_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many(tmp_path, 300)
    monkeypatch.setattr(parts, "_answer", lambda reader: None)
    assert sum(part.rows for part in read_by(monkeypatch, path, 2)) == 270


def test_one_core_or_a_small_file_needs_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many(tmp_path, 100)
    monkeypatch.setattr(parts, "_readers", lambda asked: pytest.fail("a process was started"))
    assert parts.read_whole(path, path.stat().st_size, "chat", "messages")[0][0].rows == 90
    monkeypatch.setattr(parts, "PART_BYTES", 10)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert parts.read_whole(path, path.stat().st_size, "chat", "messages")[0][0].rows == 90


INTERRUPTED = """
import os, sys, time, multiprocessing
from pathlib import Path
from alphaf_orch.inputs import parts

def say_and_sleep(*_):
    os.write(1, b"up\\n")
    time.sleep(60)

if __name__ == "__main__":
    parts.PART_BYTES, parts._sha256, parts._read = 1000, say_and_sleep, say_and_sleep
    parts.os.sched_getaffinity = lambda _: {0, 1}
    try:
        parts.read_whole(Path(sys.argv[1]), 100_000, "chat", "messages")
    except KeyboardInterrupt:
        sys.exit(f"interrupted with {len(multiprocessing.active_children())} left")
"""


def test_an_interrupt_ends_the_processes_without_a_word_of_theirs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED, encoding="utf-8")
    argv = [sys.executable, str(script), str(many(tmp_path, 10))]
    env = {**os.environ, "PYTHONPATH": str(Path(parts.__file__).parents[2])}
    with subprocess.Popen(argv, env=env, stdout=-1, stderr=-1, text=True, start_new_session=True) as done:
        assert done.stdout is not None
        assert [done.stdout.readline() for _ in range(3)] == ["up\n"] * 3
        began = time.monotonic()
        os.killpg(done.pid, signal.SIGINT)  # as a terminal does
        out, err = done.communicate(timeout=30)
    assert (out, err) == ("", "interrupted with 0 left\n")
    assert time.monotonic() - began < 10
