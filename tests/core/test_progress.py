"""The line of a stage: what it says, and that it reads each metric once."""

import io
import json

import pytest
from rich.console import Console

from alphaf_orch.core.progress import StageLine, clock, new_metrics, read_metrics, tell
from alphaf_orch.core.stamps import unstamped
from alphaf_orch.programs.json_lines import cut_half_line
from alphaf_orch.runs.watch.findings import Health

ROW = {"time": 100.0, "step": 1, "max_steps": 11, "loss": 2.0, "tokens_per_s": 321.4}


@pytest.fixture
def screen():
    return io.StringIO()


def line_of(screen, tmp_path, **options):
    console = Console(file=screen, width=200)
    return StageLine(console, "sft", tmp_path / "m.jsonl", tmp_path / "s.log", verbose=options.get("verbose", False))


def add(path, *rows):
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (600, "10:00"), (3725, "1:02:05")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_step_loss_speed_and_eta(screen, tmp_path):
    add(tmp_path / "m.jsonl", {**ROW, "step": 99, "loss": 9.0})  # of an earlier try
    with line_of(screen, tmp_path) as line:
        add(tmp_path / "m.jsonl", ROW, {**ROW, "time": 110.0, "step": 3, "loss": 1.5})
        line.poll()
    assert "sft  3/11  loss 1.500  321 tokens/s  ETA 0:40" in screen.getvalue()
    assert "9.000" not in screen.getvalue()


def test_margins_and_accuracy_of_dpo(screen, tmp_path):
    with line_of(screen, tmp_path) as line:
        add(tmp_path / "m.jsonl", {**ROW, "rewards/margins": 0.25, "rewards/accuracies": 0.75})
        line.poll()
    assert "margin 0.250  accuracy 0.75" in screen.getvalue()


def test_a_half_written_line_waits_for_its_end(screen, tmp_path):
    with line_of(screen, tmp_path) as line:
        text = json.dumps(ROW)
        (tmp_path / "m.jsonl").write_text(text[:20])
        line.poll()
        (tmp_path / "m.jsonl").write_text(text + "\n")
        line.poll()
    assert "sft  1/11  loss 2.000" in screen.getvalue()


def test_a_loss_that_is_not_finite_is_left_out(screen, tmp_path):
    with line_of(screen, tmp_path) as line:
        add(tmp_path / "m.jsonl", {**ROW, "loss": None, "non_finite": ["loss"]})
        line.poll()
    assert "sft  1/11  321 tokens/s" in screen.getvalue()


def test_a_line_comes_again_where_something_has_changed_alone(screen, tmp_path, monkeypatch):
    monkeypatch.setattr("alphaf_orch.core.progress._PLAIN_EVERY_S", -1.0)  # however soon it is looked again
    with line_of(screen, tmp_path) as line:
        for loss in (2.0, None, None, 1.5, None):
            if loss:
                add(tmp_path / "m.jsonl", {**ROW, "loss": loss})
            line.poll()
    opening, *lines = map(unstamped, screen.getvalue().splitlines())
    assert opening.startswith("sft: started, log ")
    assert [line.split("loss ")[1][:5] for line in lines] == ["2.000", "1.500"]


def test_lines_have_the_time_where_there_is_no_terminal(tmp_path):
    for terminal in (True, False):
        screen = io.StringIO()
        tell(Console(file=screen, force_terminal=terminal), "한글 줄")
        assert (screen.getvalue() == "한글 줄\n") is terminal
        assert unstamped(screen.getvalue()) == "한글 줄\n"


def test_verbose_streams_new_output_only(screen, tmp_path):
    (tmp_path / "s.log").write_text("이전 기록\n", encoding="utf-8")
    with line_of(screen, tmp_path, verbose=True) as line:
        with (tmp_path / "s.log").open("a", encoding="utf-8") as log:
            log.write("새 출력\n")
        line.poll()
    assert "새 출력" in screen.getvalue()
    assert "이전 기록" not in screen.getvalue()


def test_half_a_line_of_a_killed_try_and_what_was_glued_to_it_are_left_out(screen, tmp_path):
    """An earlier version wrote on behind half a line."""
    file = tmp_path / "m.jsonl"
    with line_of(screen, tmp_path) as line:
        file.write_bytes(b'{"time": 1.0, "st' + json.dumps(ROW).encode() + b'\n{"note": "\xea\xb0')
        add(file)
        line.poll()
        assert line.line().startswith("sft  0:0")
    assert read_metrics(file) == []
    with file.open("ab") as metrics:
        metrics.write(b'"}\n' + json.dumps(ROW).encode() + b"\n")
    assert read_metrics(file)[-1] == ROW


def test_the_next_writer_does_not_write_on_behind_half_a_line(tmp_path):
    file = tmp_path / "m.jsonl"
    for before, after in (('{"a": 1}\n{"b"', '{"a": 1}\n'), ('{"a": 1}\n', '{"a": 1}\n'), ('{"b"', ""), ("", "")):
        file.write_text(before)
        cut_half_line(file)
        assert file.read_text() == after
    cut_half_line(tmp_path / "none.jsonl")


def test_read_metrics_leaves_out_a_half_line(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"step": 1}\n{"st')
    assert read_metrics(tmp_path / "m.jsonl") == [{"step": 1}]
    assert read_metrics(tmp_path / "none.jsonl") == []


ODD = (
    '{"loss": 0.5, "step": "x"}', '{"loss": 0.5, "non_finite": 5}', '{"loss": 1' + "0" * 400 + "}",
    '{"loss": 0.5, "step": Infinity}', '{"loss": 0.5, "rewards/margins": {}}', '{"loss": 0.5, "time": NaN}',
    '{"loss": 0.5, "rewards/chosen": 1' + "0" * 400 + "}", "[]", "{",
)  # fmt: skip


def test_rows_of_other_types_are_neither_shown_nor_watched(screen, tmp_path):
    file, health = tmp_path / "m.jsonl", Health()
    file.write_text("\n".join((*ODD, json.dumps(ROW | {"non_finite": ["loss"]}))) + "\n{", encoding="utf-8")
    rows, offset = new_metrics(file, 0)
    assert [row for row in rows if row] == read_metrics(file)
    assert [each.line for row in rows for each in health.add(row)] == [len(ODD) + 1], "lines left out are counted"
    assert new_metrics(file, offset) == ([], offset)
    assert new_metrics(tmp_path / "none.jsonl", 7) == ([], 7)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((*ODD, '{"loss": 2.0}'), "sft  loss 2.000  (0:"),
        (('{"loss": 2.0, "step": 3}',), "sft  3  loss 2.000  (0:"),
        (('{"loss": 2.0, "rewards/margins": 0.25}',), "sft  loss 2.000  margin 0.250  (0:"),
        ([json.dumps({**ROW, "time": at, "step": n}) for n, at in ((1, -1e308), (2, 1e308))], "2/11  loss 2.000  321"),
    ],
)
def test_the_line_of_rows_that_lack_something(rows, said, screen, tmp_path):
    with line_of(screen, tmp_path) as line:
        (tmp_path / "m.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        line.poll()
    assert said in screen.getvalue()
