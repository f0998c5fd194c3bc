"""`alphaf watch`: what it shows on screens of any size, on a real pseudo-terminal, and where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from pathlib import Path

import board_runs
import pytest
import report_runs
from own_process import environment
from processes import until
from rich.cells import cell_len
from rich.console import Console

from alphaf_orch.board.described import Run, Stage
from alphaf_orch.board.followed import Curve, Point, Progress
from alphaf_orch.board.known import Known
from alphaf_orch.board.queue import Queue
from alphaf_orch.board.state import Folder, Snapshot, Working
from alphaf_orch.cli import watch
from alphaf_orch.cli.watch_view import View, detail, overview
from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submitted import Submitted, write_submitted
from alphaf_orch.core.cards import Card, Cards
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.record import now

_LOG = tuple(f"줄 {number}: 손실이 내려갑니다 [red]not markup[/] :smile:" for number in range(40))


def look() -> Snapshot:
    running = Stage("sft", "running", started="2026-11-26T10:00:00+00:00")
    waits = Stage("dpo", "queued", told="Dependency", job="4712")
    holder = "process 7: alphaf run, on host gpu-노드-3, Slurm job 99, since 2026-11-26T10:00:00+00:00"
    runs = (
        Run("실험/아주-긴-이름의-가지-" + "가" * 30, Path("/r/a"), "working", (running,), holder=holder),
        Run("eeve", Path("/r/b"), "working", (running, waits), holder=holder),
        Run(
            "old", Path("/r/c"), "failed", (Stage("sft", "failed", told="sft exited with 1: 메모리 부족"),), changed=5.0
        ),
        Run("hurt", Path("/r/d"), "damaged", damage="the manifest cannot be read", fix="alphaf repair hurt"),
    )
    figures = {"loss": 1.2345, "tokens_per_s": 3456.7, "rewards/margins": 0.5}
    working = tuple(
        Working(run.name, "sft", holder, running.started, Progress(120, 1000, 1000.0, 600.0, figures), _LOG, 400.0)
        for run in runs[:2]
    )
    cards = Cards("570", "12.8", (Card(name="NVIDIA H100", memory=80 << 30, used=70 << 30, busy=97),))
    return Snapshot(1060.0, Path("/r"), runs, (), working, cards)


def curves(run: str, stage: str) -> Curve:
    return Curve(tuple(Point(n, float(n), {"loss": 3.0 - n / 100}) for n in range(200)), "1.200", anew=True)


def drawn(part, view: View) -> list[str]:
    console = Console(width=view.width, height=view.height or 1000, color_system=None, markup=False, emoji=False)
    with console.capture() as caught:
        console.print(part)
    return caught.get().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 250])
@pytest.mark.parametrize("height", [5, 24, 60])
def test_nothing_is_wider_than_the_screen_and_the_logs_fill_what_is_left(width, height):
    view = View(width, height, unicode=True)
    for part in (overview(look(), curves, view), detail(look(), look().runs[1], curves, view)):
        lines = drawn(part, view)
        assert max(cell_len(line) for line in lines) <= width, "\n".join(lines)
        assert len(lines) <= max(height, 16)
        if height == 60:
            assert "줄 39" in "\n".join(lines)


def test_a_wide_screen_shows_what_works_where_and_why_the_rest_waits():
    text = "\n".join(drawn(overview(look(), curves, View(160, 60, unicode=True)), View(160, 60, unicode=True)))
    assert "2 working, 1 failed, 1 damaged" in text
    assert "120/1000" in text and "9:00" in text  # 600 s, of which one minute has passed since the row was written
    assert "1.234" in text and "3457" in text and "█▇" in text
    assert "gpu-노드-3, Slurm job 99" in text and "process 7" not in text
    assert "4712; Dependency" in text
    assert "old: failed, sft failed: sft exited with 1: 메모리 부족" in text
    assert "hurt: damaged, the manifest cannot be read" in text
    assert "GPU 0  97 % 70.0/80 GiB  NVIDIA H100" in text
    assert "[red]not markup[/] :smile:" in text and "quiet for 6:40" in text


def test_one_run_is_shown_with_its_figures_and_a_narrow_screen_says_how_far_all_the_same():
    view = View(100, 40, unicode=True)
    text = "\n".join(drawn(detail(look(), look().runs[1], curves, view), view))
    assert "eeve: working, process 7" in text and "margins 0.5" in text and "3.000 " in text and " 1.010" in text
    assert "4712; Dependency" in text
    narrow = View(30, 20, unicode=True)
    assert "120/1000" in "\n".join(drawn(overview(look(), curves, narrow), narrow))


def test_many_arms_that_wait_fit_the_screen():
    waits = tuple(Stage(name, "queued", told="Dependency", job="4712") for name in ("sft", "merge_sft", "dpo"))
    runs = tuple(Run(f"실험/가지{n}", Path(f"/r/{n}"), "queued", waits) for n in range(24))
    many = Snapshot(1060.0, Path("/r"), runs, (), (), Cards("", "", ()))
    screen, page = View(120, 24, unicode=True), View(120, 0, unicode=True)
    lines = drawn(overview(many, curves, screen), screen)
    assert len(lines) <= 24
    assert sum("sft and 2 more" in line for line in lines) == 14 and "and 10 more" in lines
    assert sum("sft and 2 more" in line for line in drawn(overview(many, curves, page), page)) == 24


def test_an_experiment_is_shown_with_its_arms_alone():
    view = View(120, 0, unicode=True)
    text = "\n".join(drawn(overview(look(), curves, view, "실험"), view))
    assert "1 working  experiment 실험" in text and "eeve" not in text


def test_what_a_name_or_an_error_says_steers_no_terminal_and_breaks_no_line():
    evil = "\x1b]52;c;cHdu\x07a\x1b[2J\x9b\r\nb\u2028c"
    stage = Stage("sft", "running", started="2999-01-01T00:00:00+00:00", told=evil, job=evil)
    runs = (
        Run(evil, Path("/r/a"), "working", (stage, Stage("dpo", "queued", told=evil)), holder=evil),
        Run("x", Path("/r/b"), "failed", (Stage("sft", "failed", told=evil),), damage=evil, fix=evil),
    )
    working = (Working(evil, "sft", evil, stage.started, Progress(), (evil,), None),)
    seen = Snapshot(1060.0, Path(f"/r{evil}"), runs, (), working, Cards())
    for view in (View(60, 40, unicode=True), View(200, 40, unicode=True)):
        shown = [*drawn(overview(seen, curves, view), view), *drawn(detail(seen, runs[0], curves, view), view)]
        assert "a b c" in "\n".join(shown)
        assert [line for line in shown if not line.isprintable()] == []
    assert any(line.startswith("sft    running  0:00  ") for line in shown)  # another machine's clock is ahead


def test_without_utf_8_there_are_ascii_signs_alone():
    view = View(60, 0, unicode=False)
    assert set(view.bars([3.0, 2.0, 1.0], 3)) <= set("_.-=+*%#") and view.cut("x" * 99).endswith("~")
    assert view.bars([1.0], 9) == "" and set(view.bars([1.0, 1.0], 9)) == {"_"}


def started(place: Path, *args: str, size=(24, 80), **env) -> tuple[subprocess.Popen[bytes], int]:
    """Start `alphaf` on a pseudo-terminal of its own; return it and the terminal's other end."""
    ours, theirs = pty.openpty()
    resized(theirs, size)

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    argv = [sys.executable, "-m", "alphaf_orch", *args]
    given = environment(place) | {"TERM": "xterm-256color", "PYTHONUTF8": "1"} | env
    process = subprocess.Popen(argv, cwd=place, env=given, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=lead)
    os.close(theirs)
    return process, ours


def resized(terminal: int, size: tuple[int, int]) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


class Screen:
    """What a terminal was sent so far."""

    def __init__(self, terminal: int) -> None:
        self.terminal, self.data = terminal, b""

    def has(self, text: str) -> bool:
        while select.select([self.terminal], [], [], 0.05)[0]:
            try:
                self.data += os.read(self.terminal, 1 << 16)
            except OSError:  # the other end is closed
                break
        return text in self.data.decode("utf-8", "replace")


def test_a_terminal_is_drawn_again_follows_its_size_and_is_given_back_by_ctrl_c(alphaf, tmp_path, monkeypatch):
    monkeypatch.setenv("ALPHAF_RUNS", environment(tmp_path)["ALPHAF_RUNS"])
    paths = board_runs.begun("한글런")
    board_runs.say(paths, "hanging\n")
    with board_runs.trained(paths):
        process, terminal = started(tmp_path, "watch")
        try:
            screen = Screen(terminal)
            until(lambda: screen.has("한글런") and screen.has("hanging"))
            begun = len(screen.data)
            resized(terminal, (10, 40))
            until(lambda: screen.has("") and len(screen.data) > begun)
            board_runs.step(paths, 777, of=1000, loss=0.5)
            until(lambda: screen.has("777/1000"))
            assert b"\x1b[2J" not in screen.data[begun:]  # nothing is wiped before it is drawn again
            os.write(terminal, b"\x03")
            until(lambda: screen.has("\x1b[?1049l") or process.poll() is not None)
            assert process.wait(20) == 0
            assert screen.has("\x1b[?1049l") and screen.has("\x1b[?25h")  # the screen as it was, and its cursor
            rest = screen.data.rpartition(b"\x1b[?1049l")[2].decode("utf-8", "replace")
            assert "777/1000" in rest and "Traceback" not in rest and "error" not in rest
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
        once = alphaf("watch", "한글런").output
    assert "sft  777/1000  loss 0.500" in once and "\x1b" not in once


def test_there_is_nothing_yet_or_no_such_run(alphaf):
    done = alphaf("watch")
    assert done.exit_code == 0 and "no runs" in done.output
    assert alphaf("watch", "없는런").exit_code == 6
    report_runs.make_run(runs_dir() / "tiny")
    assert "tiny: done" in alphaf("watch").output
    assert "merge_dpo" in alphaf("watch", "tiny", "--once").output


def test_a_name_is_that_of_the_folder_in_either_spelling(alphaf):
    """A Mac gives Hangul in pieces (NFD)."""
    report_runs.make_run(runs_dir() / "한글런")
    report_runs.make_run(board_runs.experiment("비교", {"가": "done"}) / "가")
    for typed, others in (("한글런", "비교"), ("비교", "한글런")):
        said = alphaf("watch", unicodedata.normalize("NFD", typed)).output
        assert typed in said and others not in said.replace(typed, ""), said


def test_what_is_shown_once_has_the_schedulers_word_however_long_that_takes():
    """Of a run that works, too: a job that was cancelled stands in its files as one that waits."""
    paths = board_runs.begun("far")
    write_submitted(paths, Submitted("far", "dpo", "slurm", "7", stage="dpo", at=now()))

    def hear(_):
        time.sleep(0.3)
        return {("slurm", "7"): JobState("cancelled", "by kim")}, ""

    folder = Folder()
    folder._known = Known(Queue(hear))
    with board_runs.trained(paths):
        (run,) = watch._whole(folder).runs
    assert [(stage.name, stage.state) for stage in run.stages][-1] == ("dpo", "cancelled")
