"""alphaf logs, --wait and attach: lines as they come, here and from jobs, to the end and no further."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import clock as clocks
import pytest
from fake_scheduler import stand_in
from job_files import Submission, moment
from own_process import REPO, environment

from alphaf_orch.cli import logs, wait
from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.runs import attach, follow
from alphaf_orch.runs.follow import code_of
from alphaf_orch.runs.jobs import ask

WAITS, RUNS = JobState("queued", "Priority"), JobState("running", nodes="gpu-3")


@pytest.fixture
def slurm(monkeypatch):
    return stand_in(monkeypatch)


@pytest.fixture
def clock(monkeypatch):
    return clocks.stand_in(monkeypatch, logs, wait, follow, attach)


@pytest.fixture
def chain(slurm, clock):
    """Return two submitted jobs: data runs from second 15 on and prints, sft from 30 on, to 60."""
    far = Submission(stages=("data", "sft"))
    slurm.told = {"101": WAITS, "102": JobState("queued", "Dependency")}

    def begins(name):
        slurm.told[far.ids[name]] = RUNS
        far.event(name, "started", 15)
        far.says(f"$ alphaf job far {name}\n{name}: started, log x\n")

    def ends(name):
        far.says(f"{name}: done in 0:15\n")
        far.event(name, "ended", 30, exit_code=0)
        slurm.told[far.ids[name]] = JobState("done")

    clock.at(15, lambda: begins("data"))
    clock.at(29, lambda: (ends("data"), far.stages(data="done")))
    clock.at(30, lambda: begins("sft"))
    clock.at(60, lambda: (ends("sft"), far.stages(data="done", sft="done")))
    return far


def grid(*arms):
    root = runs_dir() / "grid"
    root.mkdir(parents=True)
    each = {"variant": "", "values": {}, "seed": None, "model": "m", "exit_code": 0, "error": "", "state": "done"}
    record = {"format": 1, "name": "grid", "kind": "ablation", "created": moment(0), "request": {}, "asked": [*arms]}
    record["arms"] = [{**each, "name": name} for name in arms]
    (root / "experiment.json").write_text(json.dumps(record), "utf-8")
    return [Submission(f"grid/{name}", (), 0) for name in arms]


def test_what_alphaf_said_of_a_run_and_the_log_of_a_stage(alphaf):
    far = Submission(stages=())
    far.says("$ alphaf run\nsft: started\n한 줄\n")
    far.says(" 10%\r 100%\n\xff".replace("\xff", "끝"), "sft")
    far.stages(sft="done")
    assert alphaf("logs", "far").stdout == "$ alphaf run\nsft: started\n한 줄\n"
    assert alphaf("logs", "far", "-n", "1").stdout == "한 줄\n"
    assert alphaf("logs", "far", "sft").stdout == " 100%\n끝\n"
    assert alphaf("logs", "far", "sft", "-n", "1").stdout == "끝\n"


def test_a_log_that_is_not_there_and_a_name_of_none(alphaf, slurm):
    Submission(stages=("sft",))
    slurm.told = {"101": WAITS}
    early = alphaf("logs", "far", "sft")
    assert early.exit_code == 6
    assert "sft of far has no log yet: sft: queued (job 101): Priority: others are before it" in early.output
    assert "`alphaf logs far sft -f` waits for it" in early.output
    unknown = alphaf("logs", "far", "stf")
    assert unknown.exit_code == 2 and "has no log 'stf': did you mean sft?" in unknown.output
    nobody = alphaf("logs", "niemand")
    assert nobody.exit_code == 6 and "there is no run niemand" in nobody.output
    assert alphaf("logs", "../far").exit_code == 2


def test_an_experiment_has_the_lines_of_all_arms_and_an_arm_its_own(alphaf):
    one, two = grid("r8", "r16")
    one.says("sft: eight\n")
    two.says("sft: sixteen\n")
    whole = RunPaths(runs_dir() / "grid").log("alphaf")
    whole.parent.mkdir()
    whole.write_text("$ alphaf ablate\n[r8] sft: eight\n[r9] cannot start\n", "utf-8")
    shown = alphaf("logs", "grid").stdout
    assert shown == "$ alphaf ablate\n[r9] cannot start\n[r16] sft: sixteen\n[r8] sft: eight\n"
    assert alphaf("logs", "grid/r8").stdout == "sft: eight\n"
    one.says("step 1\n", "sft")
    assert alphaf("logs", "grid", "sft").stdout == "[r8] step 1\n"


def test_where_alphaf_never_began_what_the_job_printed_is_the_log(alphaf, slurm):
    far = Submission(stages=("data", "sft"))
    far.printed("data", "module: command not found\n")
    slurm.told = {"101": JobState("failed", "exit code 127"), "102": JobState("failed", "DependencyNeverSatisfied")}
    shown = alphaf("logs", "far").stdout
    assert "data: failed (job 101): exit code 127; all that it printed is in" in shown
    assert "module: command not found" in shown and shown.count("all that it printed") == 1
    far.held(7, job="Slurm job 101")
    far.says("error: data is no JSON\n")
    assert alphaf("logs", "far").stdout == "error: data is no JSON\n", "alphaf said it all"


def test_of_a_run_that_nobody_works_on_f_shows_all_and_ends(alphaf, clock):
    far = Submission(stages=())
    far.says("all of it\n")
    assert alphaf("logs", "far", "-f").stdout == "all of it\n"
    far.held(0)
    assert alphaf("logs", "far", "-f").exit_code == 0
    assert clock.now < 1010


def test_f_follows_a_run_here_until_it_has_ended(alphaf, clock):
    far = Submission(stages=())
    far.says("before\n")
    far.held()
    clock.at(5, lambda: far.says("more\nhal"))
    clock.at(10, lambda: (far.says("f\nlast"), far.held(0)))
    clock.at(50, lambda: far.says("of another one\n"))
    assert alphaf("logs", "far", "-f").stdout == "before\nmore\nhalf\nlast\n"
    assert clock.now < 1015


def test_f_follows_jobs_from_the_queue_to_the_end_and_asks_every_ten_seconds(alphaf, chain, slurm, clock):
    done = alphaf("logs", "far", "-f")
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if "started" in line or "done" in line] == [
        "data: started, log x", "data: done in 0:15", "sft: started, log x", "sft: done in 0:15",
    ]  # fmt: skip
    told = done.stderr.splitlines()
    assert told[0] == "data: queued (job 101): Priority: others are before it"
    assert "data: running on gpu-3 (job 101)" in told and "sft: running on gpu-3 (job 102)" in told
    assert clock.now < 1065 and 5 <= len(slurm.asked) <= 7, "60 seconds"


def test_f_of_a_stage_ends_with_the_stage(alphaf, chain, clock):
    chain.says("counted\n", "data")
    assert alphaf("logs", "far", "data", "-f").stdout == "counted\n"
    assert 1029 <= clock.now < 1035


def test_f_waits_for_the_log_of_a_stage_that_is_queued(alphaf, chain, clock):
    clock.at(40, lambda: chain.says("step 1\rstep 2\r", "sft"))
    clock.at(58, lambda: chain.says("step 3\n", "sft"))
    shown = alphaf("logs", "far", "sft", "-f").stdout
    assert shown == "step 2\nstep 3\n", "elsewhere than on a terminal a bar is a line every 15 seconds"


def test_f_goes_on_over_a_requeue_and_a_log_that_is_begun_anew(alphaf, slurm, clock):
    far = Submission(stages=("sft",))
    slurm.told = {"101": RUNS}
    far.event("sft", "started", 1)
    far.says("step 1\n", "sft")

    def back():
        far.event("sft", "requeued", 10, why="the time limit")
        slurm.told["101"] = JobState("requeued", "BeginTime", restarts=1)

    def again():
        far.event("sft", "started", 30, restart=1)
        slurm.told["101"] = JobState("running", nodes="gpu-4", restarts=1)
        far.paths.log("sft").unlink()
        far.says("step 2\n", "sft")

    clock.at(10, back)
    clock.at(30, again)
    clock.at(50, lambda: (far.event("sft", "ended", 50, exit_code=0), far.stages(sft="done")))
    done = alphaf("logs", "far", "sft", "-f")
    assert done.stdout == "step 1\nstep 2\n"
    assert "sft: requeued (job 101): BeginTime" in done.stderr and "sft: running on gpu-4 (job 101)" in done.stderr


def test_wait_tells_the_lines_of_a_run_here_and_ends_as_it(alphaf, chain, slurm, capsys):
    assert wait.follow_jobs("far", ["101", "102"], wait.so_far(chain.paths.root)) == 0
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert [line for line in lines if "(job" not in line] == [
        "data: started, log x", "data: done in 0:15", "sft: started, log x", "sft: done in 0:15",
    ]  # fmt: skip
    assert "run far" in shown.out and "sft" in shown.out, "the table that a run here ends with"
    assert len(slurm.asked) <= 7


@pytest.mark.parametrize(
    ("ended", "told", "code"),
    [
        ({"exit_code": 3, "why": "row 5 is no JSON"}, JobState("failed", "exit code 3"), 3),
        ({"exit_code": 130}, JobState("cancelled", "by user 7"), 130),
        (None, JobState("cancelled", "by user 7"), 130),
        (None, JobState("failed", "NODE_FAIL"), 7),
        (None, JobState("failed", "exit code 127", exit_code=127), 127),
        (None, JobState("unknown"), 7),
    ],
)
def test_wait_ends_with_the_code_of_what_failed_first(slurm, clock, capsys, ended, told, code):
    far = Submission(stages=("data", "sft"))
    slurm.told = {"101": RUNS, "102": JobState("queued", "Dependency")}

    def fails():
        if ended:
            far.event("data", "ended", 30, **ended)
        slurm.told = {"101": told, "102": JobState("failed", "DependencyNeverSatisfied")}

    clock.at(20, fails)
    assert wait.follow_jobs("far") == code
    assert "the same command submits the rest" in capsys.readouterr().err
    assert clock.now < 1035


@pytest.mark.parametrize("code", [130, 7])
def test_a_job_that_slurm_sends_back_itself_after_it_said_its_end_is_followed_on(slurm, clock, capsys, code):
    far = Submission(stages=("sft", "merge_sft"))
    slurm.told = {"101": RUNS, "102": JobState("queued", "Dependency")}

    def its_machine_fails():
        far.event("sft", "ended", 20, exit_code=code, why="sft was interrupted")
        slurm.told["101"] = JobState("requeued", "BeginTime", restarts=1)

    def goes_on():
        far.event("sft", "started", 100, restart=1)
        slurm.told["101"] = RUNS

    def done():
        for name in far.ids:
            far.event(name, "ended", 150, exit_code=0)

    clock.at(21, its_machine_fails)
    clock.at(100, goes_on)
    clock.at(150, done)
    assert wait.follow_jobs("far") == 0
    assert clock.now > 1149
    said = capsys.readouterr().err
    assert "sft: requeued (job 101): BeginTime" in said and "DependencyNeverSatisfied" not in said
    assert len(slurm.asked) <= 17


def test_wait_shows_what_a_job_printed_that_never_came_to_alphaf(slurm, clock, capsys):
    far = Submission(stages=("data",))
    slurm.told = {"101": JobState("failed", "exit code 1")}
    far.printed("data", "".join(f"line {n}\n" for n in range(100)) + "No module named alphaf_orch\n")
    assert wait.follow_jobs("far", ["101"], {}) == 7
    shown = capsys.readouterr().err
    assert "No module named alphaf_orch" in shown and "line 99" in shown and "line 5\n" not in shown


def test_ctrl_c_leaves_the_jobs_alone_and_says_how_to_follow_and_cancel_them(slurm, clock, capsys):
    Submission(stages=("data", "sft"))
    slurm.told = {"101": RUNS, "102": JobState("queued", "Dependency")}

    def ctrl_c():
        raise KeyboardInterrupt

    clock.at(5, ctrl_c)
    assert wait.follow_jobs("far") == 130
    said = capsys.readouterr().err
    assert "job 101, 102 goes on; `alphaf attach far` follows, `alphaf cancel far` ends it" in said
    assert slurm.cancelled == []


def test_wait_heeds_only_the_jobs_that_are_meant(slurm, clock):
    far = Submission(stages=("data", "sft"))
    slurm.told = {"101": JobState("done"), "102": RUNS}
    far.event("data", "ended", 5, exit_code=0)
    far.stages(data="done")
    assert wait.follow_jobs("far", ["101"]) == 0


def test_a_scheduler_that_falls_silent_is_told_once_and_waited_for(slurm, clock, chain, capsys):
    clock.at(1, lambda: setattr(slurm, "silent", True))
    clock.at(45, lambda: setattr(slurm, "silent", False))
    assert wait.follow_jobs("far") == 0
    said = capsys.readouterr().err
    assert said.count("slurm does not answer") == 1 and said.count("answers again") == 1


def test_an_experiment_whose_arms_fail_ends_as_it_does_here(slurm):
    [one] = grid("r8")
    one.ids["sft"] = "9"
    one.record("sft", stage="sft")
    one.event("sft", "ended", 5, exit_code=3)
    jobs = ask([one.paths]).standings[one.paths]
    assert (code_of(jobs, arms=True), code_of(jobs, arms=False)) == (7, 3)


def test_attach_leads_to_the_jobs_of_a_run_and_to_its_call_where_none_is_open(alphaf, chain):
    chain.says("of an earlier call\n")
    done = alphaf("attach", "far")
    assert done.exit_code == 0 and "sft: done in 0:15" in done.stdout and "of an earlier call" not in done.stdout
    again = alphaf("attach", "far")
    assert again.exit_code == 6, "no call here has held it"


def test_a_reader_that_leaves_ends_it_and_so_does_ctrl_c(tmp_path):
    far = Submission(stages=())
    far.says("line\n" * 30_000, "sft")  # more than a pipe holds
    far.stages(sft="running")
    env = {**environment(tmp_path), "PYTHONPATH": str(REPO)}
    call = [sys.executable, "-m", "alphaf_orch", "logs", "far", "sft"]
    with subprocess.Popen(call, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (141, b"")
    far.held(pid=os.getpid())
    with subprocess.Popen([*call, "-f", "-n", "1"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"line\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(60), process.stderr.read()) == (130, b"")
