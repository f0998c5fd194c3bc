"""What counts as progress, who is asked where it stands, and what is said where nothing was asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import until

from alphaf_orch.core.errors import StageError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.processes import Process
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.watch import stacks, stall
from alphaf_orch.runs.watch.stage import StageWatch
from alphaf_orch.settings.config import RunConfig


def stage(folder, name="sft"):
    return Stage(name, "axolotl", (sys.executable,), {}, (folder / "out",), {})


def watched(tmp_path, **config):
    said = []
    paths = RunPaths(tmp_path)
    for file in (paths.log("sft"), paths.metrics("sft")):
        file.parent.mkdir(parents=True, exist_ok=True)
    return StageWatch(stage(tmp_path), paths, RunConfig(model="tiny", **config), said.append, lambda _: None), said


def test_rows_of_other_types_end_no_stage_and_count_as_lines(tmp_path):
    watch, said = watched(tmp_path)
    odd = ('{"loss": 0.5, "step": "x"}', '{"loss": 0.5, "non_finite": 5}', '{"loss": 0.5, "step": Infinity}')
    rows = (*odd, '{"loss": null, "step": 2, "non_finite": ["loss"]}')
    RunPaths(tmp_path).metrics("sft").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(StageError) as ended:
        watch.rows()
    assert "sft.jsonl line 4" in ended.value.where
    assert len(said) == 1


@pytest.mark.parametrize("sign", ["log", "metrics", "checkpoint", "partial"])
def test_whatever_grows_is_progress(sign, tmp_path):
    paths = RunPaths(tmp_path)
    signs = stall.signs_of(stage(tmp_path), paths)
    file = {
        "log": paths.log("sft"),
        "metrics": paths.metrics("sft"),
        "checkpoint": tmp_path / "out" / "checkpoint-5" / "model.safetensors",
        "partial": tmp_path / "out.partial" / "model.safetensors",
    }[sign]
    file.parent.mkdir(parents=True, exist_ok=True)
    before = signs()
    assert signs() == before
    file.write_text("x", encoding="utf-8")
    grown = signs()
    assert grown != before
    assert signs() == grown


@pytest.mark.parametrize(
    ("name", "begun", "counts"), [("merge_sft", True, True), ("sft", False, True), ("sft", True, False)]
)
def test_computing_is_progress_until_steps_begin_whose_ranks_burn_time_waiting(
    name, begun, counts, tmp_path, monkeypatch
):
    busy = subprocess.Popen([sys.executable, "-c", "while True: sum(range(100_000))"])
    try:
        monkeypatch.setattr(stall, "processes", lambda _: [Process(busy.pid, "busy")])
        log = RunPaths(tmp_path).log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("an earlier try: training on 1 rank(s), 9 steps\n", encoding="utf-8")
        signs = stall.signs_of(stage(tmp_path, name), RunPaths(tmp_path))
        with log.open("a", encoding="utf-8") as file:
            file.write("loading\n" + "  0%| | 0/9 [00:00<?, ?it/s]training on 1 rank(s), 9 steps\n" * begun)
        until(lambda: stall._used(busy.pid)[0] > 20, 30)
        seen = signs()
        began = stall._used(busy.pid)[0]
        until(lambda: stall._used(busy.pid)[0] > began + 20, 30)
        assert (signs() != seen) is counts
    finally:
        busy.kill()
        busy.wait()


def test_without_the_option_a_silence_is_said_once_and_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(stall, "SAID_AFTER_S", 0.3)
    watch, said = watched(tmp_path)
    until(lambda: watch.look() or said, 30)
    for _ in range(30):
        watch.look()
    assert len(said) == 1
    assert said[0].startswith("warning: sft: no progress for")
    assert "--stall-timeout SECONDS" in said[0]


def test_py_spy_is_asked_where_it_lies_beside_the_tool_s_python(tmp_path):
    spy = tmp_path / "bin" / "py-spy"
    spy.parent.mkdir()
    spy.write_text('#!/bin/sh\necho "Thread 1 (active): forward ($*)"\n', encoding="utf-8")
    spy.chmod(0o755)
    log = tmp_path / "sft.log"
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        taken = stacks.dump([Process(sleeper.pid, "trainer")], log, str(spy.with_name("python")))
        assert taken == "py-spy"
        assert f"Thread 1 (active): forward (dump --nonblocking --pid {sleeper.pid})" in log.read_text("utf-8")
        spy.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        assert stacks.dump([Process(sleeper.pid, "trainer")], log, str(spy.with_name("python"))) == ""
        assert sleeper.poll() is None, "a process that does not catch the signal is sent none"
        assert f"process {sleeper.pid}: trainer\n  state " in log.read_text("utf-8")
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_process_that_is_gone_is_said_to_be(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    log = Path(tmp_path / "sft.log")
    assert stacks.dump([Process(gone.pid, "trainer")], log, "/nowhere/python") == ""
    assert "it has ended" in log.read_text("utf-8")


def test_a_folder_that_vanishes_under_a_look_ends_no_training(tmp_path, monkeypatch):
    """A checkpoint beyond `save_total_limit` is deleted while the watch looks."""
    for name in ("checkpoint-1", "checkpoint-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"x" * 5)
    scan = os.scandir

    def gone(path):
        if os.fspath(path).endswith("checkpoint-1"):
            raise FileNotFoundError(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", gone)
    files, size, _ = stall._tree(tmp_path)
    assert (files, size >= 5) == (3, True)


def test_time_in_which_nobody_looked_is_no_silence(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(stall.time, "monotonic", lambda: now)
    silence = stall.Silence(lambda: ("the same",), after_s=600)
    assert silence.seconds() == 0
    now += 30
    assert silence.seconds() == 30
    now += 3000  # the machine was paused
    assert silence.seconds() < 120
