"""Ctrl-C, SIGTERM, a hang-up and a reader that is gone, at any moment of any command.

How many moments is ALPHAF_SIGNAL_MOMENTS, 2 a command where nobody says: 60 take minutes.
"""

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest
from processes import end, guards_of, living, until

MOMENTS = int(os.environ.get("ALPHAF_SIGNAL_MOMENTS", "2"))
REPO = Path(__file__).parents[2]
# `alphaf` from its first instruction on: what python does before it is not ours.
ALPHAF = (
    "import os, sys; from alphaf_orch.core import signals; signals.begin(); os.write(int(sys.argv.pop(1)), b'x')\n"
    "from alphaf_orch.cli.start import main; main()"
)
ONE, TWO = ((signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,)), (signal.SIGINT, signal.SIGTERM)
KINDS = (*ONE, TWO, (signal.SIGINT, signal.SIGINT))
HARMLESS = ("Traceback", "Aborted", "Exception ignored", "alphaf itself failed", "KeyboardInterrupt")


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Return a function that starts `alphaf` and comes back at its first instruction."""
    monkeypatch.chdir(tmp_path)
    started = []

    def begin(*args, **given):
        read, write = os.pipe()
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **given}
        process = subprocess.Popen(
            [sys.executable, "-c", ALPHAF, str(write), *args], env={**os.environ, "PYTHONPATH": str(REPO)},
            stdin=subprocess.DEVNULL, pass_fds=[write], **given,
        )  # fmt: skip
        os.close(write)
        started.append(process)
        os.read(read, 1)
        os.close(read)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


def told(process):
    out, err = (part.decode() if part else "" for part in process.communicate(timeout=60))
    assert not [word for word in HARMLESS if word in out + err], err
    return out, err


def disturbed(begin, args, usual, prepare=lambda: None):
    """Yield after each disturbed call, sent a signal at moments spread over the time that an undisturbed one takes."""
    process, started = begin(*args), time.monotonic()
    told(process)
    took = time.monotonic() - started
    assert process.returncode == usual
    chance, kinds = random.Random(13), cycle(KINDS)
    for n in range(MOMENTS):
        prepare()
        process = begin(*args)
        time.sleep(took * (n + chance.random()) / MOMENTS)
        numbers = next(kinds)
        for number in numbers:
            process.send_signal(number)
        _, err = told(process)
        assert process.returncode in (130, usual), (numbers, n, process.returncode, err)
        if process.returncode == 130:
            assert err.count("error: ") == 1 and "interrupted" in err, err
        yield process


@pytest.mark.parametrize("args, usual", [(("--help",), 0), (("runs",), 0), (("plan", "--model", "tiny"), 0)])
def test_a_signal_at_any_moment_of_a_command_that_only_reads(args, usual, begin, fake):
    args = (*args, "--config", str(fake.config)) if "plan" in args else args
    for _ in disturbed(begin, args, usual):
        pass


def test_a_signal_at_any_moment_of_a_run(begin, fake, tmp_path):
    runs = Path(os.environ["ALPHAF_RUNS"])
    args = ["sft", "--config", str(fake.config), "--model", "tiny", "--run", "0"]
    names = iter(map(str, range(1, MOMENTS + 1)))

    def anew():
        args[-1] = next(names)

    for _ in disturbed(begin, args, 0, anew):
        manifest = runs / args[-1] / "manifest.json"
        if manifest.is_file():
            states = {entry["state"] for entry in json.loads(manifest.read_text(encoding="utf-8"))["stages"].values()}
            assert states <= {"done", "interrupted"}
        assert not list(runs.rglob("*.json.partial"))
        process = begin(*args)
        _, err = told(process)
        assert process.returncode == 0, err


def test_a_signal_while_a_lock_is_waited_for(begin, fake, tmp_path):
    fake.behave(base_model="slow")
    first = begin("sft", "--config", str(fake.config), "--model", "tiny", "--run", "하나")
    assert b"base_model: started" in first.stderr.readline()
    second = begin("sft", "--config", str(fake.config), "--model", "tiny", "--run", "둘")
    assert b"waits for run" in second.stderr.readline()
    second.send_signal(signal.SIGINT)
    _, err = told(second)
    assert (second.returncode, "alphaf sft was interrupted" in err) == (130, True), err
    first.send_signal(signal.SIGTERM)
    _, err = told(first)
    assert first.returncode == 130
    with (Path(os.environ["ALPHAF_RUNS"]) / "하나" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_reader_that_is_gone_ends_no_run(begin, fake):
    """As of `alphaf run | head -1` and `2>&1 | less` that was quit: its lines stand in the log of the run."""
    fake.behave(sft={"when": "x", "then": "ok"})
    read, write = os.pipe()
    process = begin("sft", "--config", str(fake.config), "--model", "tiny", stdout=write, stderr=write)
    os.close(write)
    assert os.read(read, 10)
    os.close(read)
    assert process.wait(timeout=60) == 0
    run = Path(os.environ["ALPHAF_RUNS"]) / "tiny"
    log = (run / "logs" / "alphaf.log").read_text(encoding="utf-8")
    assert "merge_sft: done" in log and "hand-off contract" in log and "run tiny" in log
    assert {e["state"] for e in json.loads((run / "manifest.json").read_text("utf-8"))["stages"].values()} == {"done"}


@pytest.mark.parametrize("closed", ["reader", "stdout", "all"])
def test_a_command_that_only_reads_ends_quietly(closed, begin):
    if closed == "reader":
        read, write = os.pipe()
        os.close(read)
        process = begin("models", stdout=write)
        os.close(write)
    else:
        redirected = ">&-" if closed == "stdout" else "<&- >&- 2>&-"
        argv = ["sh", "-c", f'"$0" -m alphaf_orch models {redirected}', sys.executable]
        process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(REPO)}, stderr=subprocess.PIPE)
    _, err = told(process)
    assert (process.returncode, err) == (0, "")


def test_a_hang_up_ends_no_run_that_was_started_with_nohup(begin, fake):
    fake.behave(base_model="slow")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = begin("sft", "--config", str(fake.config), "--model", "tiny")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert b"base_model: started" in process.stderr.readline()
    process.send_signal(signal.SIGHUP)
    fake.control.with_name("go").touch()
    told(process)
    assert process.returncode == 0


def detach(*args):
    argv = [sys.executable, "-m", "alphaf_orch", *args, "--detach"]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert not [word for word in HARMLESS if word in done.stdout + done.stderr], done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_detached_run_is_followed_left_alone_and_followed_to_its_end(begin, fake):
    fake.behave(base_model="slow")
    args = ("sft", "--config", str(fake.config), "--model", "tiny")
    code, out, err = detach(*args)
    assert code == 0, err
    record = json.loads((Path(os.environ["ALPHAF_RUNS"]) / "tiny" / "logs" / "alphaf.json").read_text("utf-8"))
    pid = record["holder"]["pid"]
    try:
        assert f"process {pid}: " in out and os.uname().nodename in out and "alphaf attach tiny" in out
        assert os.getsid(pid) == pid != os.getsid(0)
        os.kill(pid, signal.SIGHUP)  # of a login that ended
        follower = begin("attach", "tiny")
        while b"base_model: started" not in follower.stdout.readline():
            assert follower.poll() is None
        follower.send_signal(signal.SIGINT)
        _, err = told(follower)
        assert (follower.returncode, "left alone: tiny goes on" in err) == (130, True)
        code, _, err = detach(*args)
        assert (code, f"in use (by process {pid}: " in err) == (6, True), "its error and its exit code"
        fake.behave(sft="fail")
        fake.control.with_name("go").touch()
        follower = begin("attach", "tiny")
        out, _ = told(follower)
        assert follower.returncode == 7 and "the GPU fell off the bus" in out, "the end of the run itself"
    finally:
        end([pid])
    code, out, err = detach(*args, "--dry-run")
    assert (code, "dry run: nothing was launched" in out, err) == (0, True, ""), "what holds nothing has ended"


def test_attach_says_of_a_killed_one_that_it_was_and_who_it_was_in_the_readers_language(begin, fake, monkeypatch):
    fake.behave(base_model="slow")
    process = begin("sft", "--config", str(fake.config), "--model", "tiny", stdout=subprocess.DEVNULL)
    assert b"base_model: started" in process.stderr.readline()
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    follower = begin("attach", "tiny")
    monkeypatch.delenv("ALPHAF_LANG")
    assert b"$ alphaf" in follower.stdout.readline()
    process.kill()
    _, err = told(follower)
    assert follower.returncode == 137
    assert f"  (프로세스 {process.pid}: " in err and "부터)\n" in err
    process.wait()
    watchdogs = guards_of(process.pid)
    until(lambda: not living(watchdogs))
    nobody = begin("attach", "niemand")
    _, err = told(nobody)
    assert (nobody.returncode, "there is no run niemand" in err) == (6, True)
