"""`--quiet`: the result and errors alone; and lines that a CI log can be read by."""

from __future__ import annotations

import json
import re

import in_process
import pytest
from own_process import alphaf as by_itself

from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.stamps import stamped, unstamped

RUN = "조용한-학습"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "


@pytest.fixture
def call(alphaf, fake, monkeypatch):
    in_process.bring(monkeypatch)

    def made(*args: str):
        return alphaf(*args, "--run", RUN, "--config", str(fake.config))

    return made


def test_a_quiet_run_says_its_model_and_a_second_one_too(call) -> None:
    model = f"model: {runs_dir() / RUN / 'dpo' / 'merged'}\n"
    for _ in range(2):
        done = call("run", "--model", "tiny", "-q")
        assert (done.exit_code, done.stdout, done.stderr) == (0, model, "")


def test_a_quiet_run_says_its_error(call, fake) -> None:
    fake.behave(sft="fail")
    done = call("sft", "--model", "tiny", "--quiet")
    assert done.exit_code == 7
    assert done.stdout == ""
    assert done.stderr.startswith("error: sft ")


def test_with_json_nothing_stands_on_standard_errors_not_even_the_error(call, fake) -> None:
    fake.behave(sft="fail")
    done = call("sft", "--model", "tiny", "--quiet", "--json")
    assert done.exit_code == json.loads(done.stdout)["error"]["exit_code"] == 7
    assert done.stderr == ""


def test_lines_off_a_terminal_have_the_time_and_errors_have_not(call, fake) -> None:
    fake.behave(dpo="fail")
    done = call("run", "--model", "tiny")
    lines = done.stderr.splitlines()
    assert re.match(f"{_TIME}sft: done ", next(line for line in lines if "sft: done" in line))
    assert "error: dpo " in done.stderr
    assert not re.search(f"{_TIME}error: ", done.stderr)


def test_a_stamp_is_taken_off_again() -> None:
    assert unstamped(stamped("한글 줄")) == "한글 줄"
    assert re.fullmatch(f"{_TIME}한글 줄", stamped("한글 줄"))
    assert unstamped("2026-11-27 is a day") == "2026-11-27 is a day"


def test_a_quiet_run_s_log_has_what_it_would_have_said_and_no_json(fake, tmp_path) -> None:
    done = by_itself(tmp_path, "sft", "--model", "tiny", "--run", RUN, "--config", str(fake.config), "-q", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = RunPaths(runs_dir() / RUN).log("alphaf").read_text(encoding="utf-8")
    assert re.search(f"(?m)^{_TIME}sft: done ", said)
    assert "alphaf/run/1" not in said
