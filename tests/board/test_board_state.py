"""What a look at the runs folder finds: states, curves, logs; and that it is cheap."""

from __future__ import annotations

import json
import os
import time

import board_runs
import pytest
import report_runs

from alphaf_orch.board import known
from alphaf_orch.board.described import Run, Stage, with_holder
from alphaf_orch.board.followed import MOST_POINTS, Followed, tail
from alphaf_orch.board.known import Known
from alphaf_orch.board.payload import encoded, everything
from alphaf_orch.board.queue import ASK_EVERY_S, Queue
from alphaf_orch.board.state import Folder, Snapshot
from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submitted import Submitted, write_submitted
from alphaf_orch.core.holder import myself
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import now


def look(folder: Folder) -> Snapshot:
    """Return what a look at the whole folder finds; at what works alone one looks in between."""
    folder._known._due = 0
    return folder.look()


def looked(folder: Folder | None = None) -> dict[str, str]:
    return {run.name: run.state for run in look(folder or Folder()).runs}


def test_a_folder_that_is_not_there_has_no_runs():
    found = Folder().look()
    assert (found.runs, found.experiments, found.working, found.root) == ((), (), (), runs_dir())


def test_each_run_is_told_by_what_became_of_it():
    report_runs.make_run(runs_dir() / "done")
    board_runs.begun("killed")
    board_runs.ends(board_runs.begun("failed"), state="failed", error="sft exited with 1")
    board_runs.ends(board_runs.begun("stopped"), state="interrupted")
    broken = report_runs.make_run(runs_dir() / "broken")
    broken.manifest.write_text("{", "utf-8")
    new = RunPaths(runs_dir() / "new")
    new.root.mkdir()
    new.config.write_text("model: tiny\n", "utf-8")
    (runs_dir() / "something else").mkdir()
    folder = Folder()
    assert looked(folder) == {
        "done": "done", "killed": "interrupted", "failed": "failed", "stopped": "interrupted", "broken": "damaged",
        "new": "damaged",
    }  # fmt: skip
    assert folder.run("failed").stages[-1].told == "sft exited with 1"
    assert "cut off" in folder.run("broken").damage
    assert "alphaf repair broken" in folder.run("broken").fix
    assert folder.look().working == ()


def test_who_works_is_told_with_how_far_it_is():
    paths = board_runs.begun()
    folder = Folder()
    assert looked(folder) == {paths.name: "interrupted"}
    with board_runs.trained(paths):
        board_runs.say(paths, "loading\nstep\n")
        for number in (1, 2, 3):
            board_runs.step(paths, number, time=time.time() + number)
        (work,) = look(folder).working
        assert (work.run, work.stage, work.progress.step, work.progress.max_steps) == (paths.name, "sft", 3, 20)
        assert work.progress.eta_s == pytest.approx(17, abs=0.5)
        assert work.progress.figures == {"loss": pytest.approx(1.85), "tokens_per_s": 1234.5}
        assert work.log == ("loading", "step")
        assert f"process {os.getpid()}" in work.holder
        assert work.quiet_s < 10
        assert looked(folder) == {paths.name: "working"}
        board_runs.ends(paths)
        assert folder.look().working == ()
        assert looked(folder) == {paths.name: "working"}  # something comes behind it
    assert looked(folder) == {paths.name: "done"}


def test_rows_of_an_earlier_try_tell_nothing_of_this_one():
    paths = board_runs.begun()
    board_runs.step(paths, 1, time=time.time() - 1000)
    with board_runs.trained(paths):
        folder = Folder()
        assert folder.look().working[0].progress.step is None
        for number in (2, 3):
            board_runs.step(paths, number, time=time.time() + 2 * number)
        assert folder.look().working[0].progress.eta_s == pytest.approx(34, abs=0.5)  # 2 s a step, not 1000


def test_a_holder_elsewhere_lives_as_long_as_it_touches_its_lock():
    paths = board_runs.begun()
    elsewhere = {**vars(myself()), "host": "gpu-7", "boot": "another", "job": "Slurm job 12"}
    paths.lock.write_text(json.dumps(elsewhere), "utf-8")
    folder = Folder()
    assert looked(folder) == {paths.name: "working"}
    assert "on host gpu-7, Slurm job 12" in folder.run(paths.name).holder
    long_ago = time.time() - 3600
    os.utime(paths.lock, (long_ago, long_ago))
    assert looked() == {paths.name: "interrupted"}
    # A file server's clock may be an hour behind: whoever touches it between two looks lives.
    folder = Folder()
    folder.look()
    os.utime(paths.lock, (long_ago + 5, long_ago + 5))
    assert looked(folder) == {paths.name: "working"}


def test_an_evaluation_and_arms_of_an_experiment_are_work_too():
    root = board_runs.experiment("비교", {"a": "done", "b": "not started"})
    report_runs.make_run(root / "a")
    (root / "report.html").write_text("", "utf-8")
    arm = board_runs.begun("비교/b")
    alone = report_runs.make_run(runs_dir() / "alone")
    board_runs.say(alone, "Running generate_until requests\n", "eval_sft")
    alone.eval_lock.parent.mkdir()
    alone.eval_lock.write_bytes(myself().written())
    with board_runs.trained(arm):
        found = Folder().look()
    assert {(work.run, work.stage) for work in found.working} == {("비교/b", "sft"), ("alone", "eval")}
    assert {run.name: run.experiment for run in found.runs} == {"비교/a": "비교", "비교/b": "비교", "alone": ""}
    assert next(work for work in found.working if work.stage == "eval").log == ("Running generate_until requests",)
    (experiment,) = found.experiments
    assert (experiment.name, experiment.kind, experiment.pages) == ("비교", "ablation", ("report.html",))
    (root / "experiment.json").write_text("[]", "utf-8")
    assert "list" in Folder().look().experiments[0].damage


def test_nothing_that_did_not_change_is_read_again(monkeypatch):
    read = []
    real = known.run_or_damage
    monkeypatch.setattr(known, "run_or_damage", lambda paths, told: read.append(paths.name) or real(paths, told))
    board_runs.many(5)
    folder = Folder()
    folder.look()
    assert len(read) == 5
    read.clear()
    for _ in range(3):
        look(folder)
    assert read == []
    board_runs.ends(RunPaths(runs_dir() / "run-003"), state="failed", error="x")
    assert looked(folder)["run-003"] == "failed"
    assert read == ["run-003"]
    (runs_dir() / "run-004" / "compare-run-001.html").write_text("", "utf-8")
    look(folder)
    assert folder.run("run-004").pages == ("compare-run-001.html", "report.html")


def test_a_look_takes_its_time_and_later_ones_read_the_rest(monkeypatch):
    board_runs.many(6)
    working = board_runs.begun("working")
    monkeypatch.setattr(known, "_BUDGET_S", 0.0)
    with board_runs.trained(working):
        folder = Folder()
        states = looked(folder)
        assert states.pop("working") == "working"  # whatever the budget is
        assert set(states.values()) == {"unread"}
        monkeypatch.setattr(known, "_BUDGET_S", 60.0)
        states = looked(folder)
        assert {state for name, state in states.items() if name != "working"} == {"done"}


def test_what_waits_in_a_queue_is_told_and_its_scheduler_asked_rarely():
    paths = RunPaths(runs_dir() / "queued")
    paths.root.mkdir(parents=True)
    paths.config.write_text("model: tiny\n", "utf-8")
    for stage in ("data", "sft"):
        write_submitted(paths, Submitted("queued", stage, "slurm", stage, stage=stage, at=now()))
    asked = []

    def hear(kept):
        asked.append(sorted(each.name for each in kept))
        return {
            ("slurm", "data"): JobState("running", nodes="n1"),
            ("slurm", "sft"): JobState("queued", "Dependency"),
        }, ""

    folder = Folder()
    folder._known = Known(Queue(hear))
    assert looked(folder) == {"queued": "queued"}  # by its files, at once
    folder._known._queue._asking.join()
    states = looked(folder)
    assert states == {"queued": "working"}
    data, sft = folder.run("queued").stages
    assert (data.state, data.job) == ("running", "slurm job data, n1")
    assert (sft.state, sft.told, sft.job) == ("queued", "Dependency", "slurm job sft")
    for _ in range(5):
        look(folder)
    assert asked == [["queued"]]
    folder._known._queue._asked -= ASK_EVERY_S
    folder.look()
    folder._known._queue._asking.join()
    assert len(asked) == 2


def test_whatever_lies_in_the_folder_ends_no_look():
    report_runs.make_run(runs_dir() / "early", created="0001-01-01T00:00:00")
    late = report_runs.make_run(runs_dir() / "late")
    os.utime(late.manifest, (1 << 40, 1 << 40))
    nameless = runs_dir() / os.fsdecode(b"\xff\xfe")
    nameless.mkdir()
    (nameless / "config.yaml").write_text("model: tiny\n", "utf-8")
    (runs_dir() / "loop").symlink_to(runs_dir() / "loop")
    (runs_dir() / "pipes").mkdir()
    for name in ("manifest.json", ".lock", "report.html"):
        os.mkfifo(runs_dir() / "pipes" / name)
    jobs = report_runs.make_run(runs_dir() / "jobs").jobs
    jobs.mkdir()
    (jobs / "sft.json").write_text("{", "utf-8")
    (jobs / "sft.events.jsonl").mkdir()
    begun = board_runs.begun("begun", started="9999-99-99")
    with board_runs.trained(begun):
        found = Folder().look()
    states = {run.name: run.state for run in found.runs}
    assert states == {"early": "done", "late": "done", "pipes": "damaged", "jobs": "damaged", "begun": "working"}
    data, _ = encoded(everything(found, str))
    assert json.loads(data)["runs"]


def test_a_curve_goes_on_where_it_was_left(tmp_path):
    paths = board_runs.begun()
    followed = Followed(paths.metrics("sft"))
    empty = followed.curve()
    assert (empty.points, empty.anew) == ((), True)
    board_runs.step(paths, 1)
    board_runs.step(paths, 2, loss=float("nan"), eval_loss=0.5)
    first = followed.curve(empty.at)
    assert [(point.step, dict(point.figures)) for point in first.points] == [
        (1, {"loss": 1.95, "tokens_per_s": 1234.5}), (2, {"eval_loss": 0.5, "tokens_per_s": 1234.5}),
    ]  # fmt: skip
    assert not first.anew
    with paths.metrics("sft").open("a") as file:
        file.write('{"step": 3, "lo')
    assert followed.curve(first.at).points == ()
    with paths.metrics("sft").open("a") as file:
        file.write('ss": 1.0}\n{"step": "x"}\nnothing\n')
    assert [point.step for point in followed.curve(first.at).points] == [3]
    # Back to a checkpoint: what came behind it is forgotten.
    board_runs.step(paths, 2)
    again = followed.curve(first.at)
    assert again.anew
    assert [point.step for point in again.points] == [1, 2]
    for strange in ("", "x", "1.99999", "-1.-1", f"{again.at}0", "9" * 5000):
        assert [point.step for point in followed.curve(strange).points] == [1, 2], strange
    paths.metrics("sft").write_text("", "utf-8")
    assert followed.curve(again.at).points == ()
    paths.metrics("sft").unlink()
    assert followed.curve().points == ()


def test_metrics_larger_than_any_memory_are_not_read(tmp_path):
    with (tmp_path / "m.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # of holes
    assert Followed(tmp_path / "m.jsonl").curve().points == ()


def test_a_long_curve_is_thinned_and_keeps_its_end():
    paths = board_runs.begun()
    rows = (json.dumps({"step": n, "max_steps": 10**6, "loss": 1.0}) for n in range(3 * MOST_POINTS))
    paths.metrics("sft").write_text("\n".join(rows) + "\n", "utf-8")
    followed = Followed(paths.metrics("sft"))
    found = followed.curve()
    assert MOST_POINTS / 8 < len(found.points) <= MOST_POINTS
    assert (found.points[0].step, found.points[-1].step) == (0, 3 * MOST_POINTS - 1)
    board_runs.step(paths, 10**5)
    assert [point.step for point in followed.curve(found.at).points] == [10**5]


def test_a_log_is_shown_as_on_paper_and_its_secrets_are_not(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "s" * 34)
    log = tmp_path / "a.log"
    log.write_bytes(b"\x1b[31mred\x1b[0m\n 10%|#  |\r 90%|## |\r\ntoken hf_" + b"s" * 34 + b"\n\xff\x00\x07end\n\n")
    assert tail(log) == ("red", " 90%|## |", "token ***", "\ufffdend")
    assert tail(log, 2) == ("token ***", "\ufffdend")
    # A line that begins before what is read could hold the second half of a secret.
    log.write_bytes(b"hf_" + b"s" * 40_000 + b"\nlast\n")
    assert tail(log) == ("last",)
    log.write_bytes(b"x" * 40_000 + b"\r 50%")
    assert tail(log) == (" 50%",)
    assert tail(tmp_path / "none") == ()
    os.mkfifo(tmp_path / "pipe")
    assert tail(tmp_path / "pipe") == ()


def test_of_two_stages_begun_in_one_second_the_later_is_at_work():
    """The first was killed, and the next began before the clock went on."""
    at = now()
    run = Run("r", runs_dir() / "r", "begun", (Stage("sft", "running", at), Stage("merge_sft", "running", at)))
    found = with_holder(run, ("stage", myself()), stopping=False)
    assert [stage.state for stage in found.stages] == ["interrupted", "running"]
