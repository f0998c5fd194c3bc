"""A run that is asked to stop or to make room, by a file in its folder or by SIGUSR1: heeded, whatever it does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import living, until

from alphaf_orch.core import signals
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import PACKAGE, RunPaths
from alphaf_orch.core.record import read_manifest, write_manifest
from alphaf_orch.core.stop import of_job, read_wish, wish
from alphaf_orch.runs import requeues
from alphaf_orch.runs.interrupted import interrupts_told


@pytest.fixture
def begin(fake, tmp_path):
    """Return a function that starts `alphaf sft --model tiny`, hanging in its training, in a group of its own."""
    fake.behave(sft="hang")
    started = []

    def begin(*args, until_said="hanging", **env):
        process = subprocess.Popen(
            [sys.executable, "-m", "alphaf_orch", *(args or ("sft", "--model", "tiny")), "--config", str(fake.config)],
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **env}, cwd=tmp_path, text=True, encoding="utf-8",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        log = paths().log("sft")
        if until_said:
            until(lambda: log.is_file() and log.read_text("utf-8").rstrip().endswith(until_said), 60)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def paths(name="tiny"):
    return RunPaths(Path(os.environ["ALPHAF_RUNS"]) / name)


def sft():
    return json.loads(paths().manifest.read_text("utf-8"))["stages"]["sft"]


def ended(process):
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode, err


def test_sigusr1_to_the_whole_group_makes_room_and_the_same_command_goes_on(begin, fake):
    process = begin(SLURM_JOB_ID="17")
    os.killpg(process.pid, signal.SIGUSR1)
    os.killpg(process.pid, signal.SIGUSR1)  # twice hurries nothing
    code, err = ended(process)
    assert code == 75, err
    assert "sft: asked to make room by SIGUSR1: it gets 540 s to end" in err
    assert "error: sft: stopped at step 5 of 10 for SIGUSR1; checkpoint-5 kept" in err, err
    entry = sft()
    assert entry["state"] == "interrupted"
    (once,) = entry["requeues"]
    assert {**once, "at": ""} == {"at": "", "why": "SIGUSR1", "job": "17", "restart": 0, "checkpoint": "checkpoint-5"}
    fake.behave()
    wish(paths().stop_wish, "stop", "yesterday")
    wish(of_job(paths().stop_wish, "17"), "later", "the limit of the earlier start", job="17", restart=0)
    code, err = ended(begin(until_said="", SLURM_JOB_ID="17", SLURM_RESTART_COUNT="1"))
    assert code == 0, err
    assert read_wish(paths().stop_wish).why == "yesterday", "heeded by nobody"
    assert fake.argv("sft")[-1].endswith("checkpoint-5")
    assert sft()["requeues"] == [once], "told once"
    assert sft()["restart"] == 1


def test_cancel_stops_who_works_here_and_waits_for_it(begin, alphaf):
    process = begin()
    wish(paths().stop_wish, "stop", "yesterday")  # lies there already
    paths().stop_wish.write_text("{", "utf-8")
    done = alphaf("cancel", "tiny")
    assert done.exit_code == 0, done.output
    assert f"asked to stop: tiny: process {process.pid}: " in done.stdout
    assert "tiny: stopped; the same command goes on where it was" in done.stdout
    code, err = ended(process)
    assert code == 130, err
    assert "sft: asked to stop by alphaf cancel of " in err
    assert "it gets 60 s" in err
    assert (sft()["state"], "requeues" in sft()) == ("interrupted", False)
    assert read_wish(paths().stop_wish) is None
    again = alphaf("cancel", "tiny")
    assert (again.exit_code, again.stdout.partition(":")[0]) == (0, "tiny")
    assert "nothing to cancel" in again.stdout


def test_what_the_job_was_asked_before_it_held_the_run_is_heeded(begin):
    """Its script was told of the limit while it was still planning."""
    wish(of_job(paths().stop_wish, "17"), "later", "the time limit of job 17", job="17", restart=2)
    code, err = ended(begin(until_said="", SLURM_JOB_ID="17", SLURM_RESTART_COUNT="2"))
    assert code == 75, err
    assert "the time limit of job 17" in err


def test_a_stop_behind_later_is_not_sent_back_and_a_firm_word_shortens_the_wait(begin, fake):
    fake.behave(sft="ranks")  # they ignore all that can be ignored
    process = begin()
    process.send_signal(signal.SIGUSR1)
    until(lambda: "make room" in paths().log("alphaf").read_text("utf-8"), 10)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    code, err = ended(process)
    assert code == 130, err
    assert "requeues" not in sft()


def test_a_run_that_another_one_took_over_is_written_to_no_more(begin):
    """A machine that its scheduler gave up wakes up: its trainer is killed without a last checkpoint."""
    process = begin()
    before = paths().manifest.read_bytes()
    holder = json.loads(paths().lock.read_text("utf-8"))
    paths().lock.write_text(json.dumps({**holder, "host": "다른-기계", "pid": 1}) + "\n", "utf-8")
    code, err = ended(process)
    assert code == 6, err
    assert "another process works here: process 1, on host 다른-기계" in err
    assert paths().manifest.read_bytes() == before
    assert "asked to" not in err, "nothing is waited for"
    assert not living([process.pid])


def test_a_stage_that_meets_its_limit_twice_and_gained_nothing_is_not_started_a_third_time(monkeypatch):
    before = {"at": "2026-01-02T03:04:05+00:00", "why": "its limit", "job": "17", "restart": 0, "limit": True}
    stage = {"state": "running", "started": before["at"], "fingerprint": "f", "requeues": [before]}
    paths().root.mkdir(parents=True)
    write_manifest(paths().manifest, {**read_manifest(paths().manifest), "stages": {"sft": stage}})
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setattr(signals, "_wished", {"later": signals.Wished("the time limit of job 17", limit=True)})
    why = "as at the start before: it is not put back into the queue"
    with pytest.raises(RunStateError, match=why), interrupts_told(paths()):
        raise KeyboardInterrupt
    assert (sft()["state"], sft()["requeues"]) == ("interrupted", [before])


@pytest.mark.parametrize(
    ("before", "limit", "vain"),
    [
        ({}, True, True),
        ({"checkpoint": "checkpoint-3"}, True, False),  # it came further
        ({"limit": False}, True, False),  # preempted: the next time it may have longer
        ({}, False, False),
        ({"job": "16"}, True, False),  # submitted anew since, perhaps with a longer time
    ],
)
def test_only_two_whole_times_without_a_gain_are_in_vain(before, limit, vain, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setattr(signals, "wishes", lambda: {"later": signals.Wished("its limit", limit=limit)})
    last = {"job": "17", "restart": 1, "checkpoint": "checkpoint-5", "limit": limit}
    entry = {"requeues": [{**last, "restart": 0, **before}, last]}
    assert requeues.in_vain(entry) is vain
    assert not requeues.in_vain({"requeues": entry["requeues"][:1]}), "nothing of this start is written down yet"
    assert not requeues.in_vain({})
