"""What Slurm's commands say, as values, and what becomes of a command that does not answer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.slurm.scheduler import Slurm
from alphaf_orch.clusters.slurm.states import accounted, queued
from alphaf_orch.core.errors import ToolError

AT = "2026-11-26T22:59:20+00:00"
JOB = Job("r", "sft", Needs("train"), "sft")


def line(state, reason="None", restarts="0", code="0", nodes="", number="7"):
    return f"{number} |{state:<32}|{reason:<64}|{restarts}|{code}|1795733900|1795733960|1795733970|{nodes:<40}|\n"


def squeue(*args, **more):
    ((number, found),) = queued(line(*args, **more))
    assert number == "7"
    return found.state, found.reason


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (("PENDING", "Priority"), ("queued", "Priority")),
        (("PENDING", "QOSMaxJobsPerUserLimit"), ("queued", "QOSMaxJobsPerUserLimit")),
        (("PENDING", "BeginTime", "2"), ("requeued", "BeginTime")),
        (("PENDING", "(null)"), ("queued", "")),
        (("REQUEUE_HOLD", "job_requeued_in_held_state"), ("requeued", "job_requeued_in_held_state")),
        (("SPECIAL_EXIT",), ("requeued", "SPECIAL_EXIT")),
        (("RUNNING",), ("running", "")),
        (("COMPLETING",), ("running", "COMPLETING")),
        (("CONFIGURING",), ("running", "CONFIGURING")),
        (("SUSPENDED",), ("running", "SUSPENDED")),
        (("COMPLETED",), ("done", "")),
        (("CANCELLED", "Dependency"), ("cancelled", "")),
        (("CANCELLED", "DependencyNeverSatisfied"), ("failed", "DependencyNeverSatisfied")),
        (("TIMEOUT", "TimeLimit", "0", "1"), ("failed", "TIMEOUT")),
        (("OUT_OF_MEMORY", "OutOfMemory", "0", "125:0"), ("failed", "OUT_OF_MEMORY")),
        (("NODE_FAIL", "NodeDown"), ("failed", "NODE_FAIL")),
        (("PREEMPTED",), ("failed", "PREEMPTED")),
        (("BOOT_FAIL",), ("failed", "BOOT_FAIL")),
        (("DEADLINE",), ("failed", "DEADLINE")),
        (("FAILED", "NonZeroExitCode", "0", "1792"), ("failed", "exit code 7")),
        (("FAILED", "NonZeroExitCode", "0", "7:0"), ("failed", "exit code 7")),
        (("FAILED", "RaisedSignal:9(Killed)", "0", "9"), ("failed", "signal 9")),
        (("FAILED", "JobLaunchFailure"), ("failed", "JobLaunchFailure")),
        (("A_STATE_OF_SLURM_30",), ("running", "A_STATE_OF_SLURM_30")),
    ],
)
def test_every_state_of_squeue_is_one_of_ours(said, state):
    assert squeue(*said) == state


def test_since_is_when_the_job_came_into_its_state():
    for state, since in (("PENDING", 3900), ("RUNNING", 3960), ("TIMEOUT", 3970)):
        ((_, found),) = queued(line(state))
        assert found.since.endswith({3900: "22:58:20+00:00", 3960: "22:59:20+00:00", 3970: "22:59:30+00:00"}[since])
    ((_, found),) = queued("7|RUNNING|None|0|0|N/A|Unknown|NONE|n1|\n")
    assert (found.since, found.nodes) == ("", "n1")


@pytest.mark.parametrize("text", ["", "\n\n", "slurm_load_jobs error\n", "a|b|c\n", "7|RUNNING\n", "x" * 99999])
def test_what_is_no_answer_says_nothing(text):
    assert dict(queued(text)) == dict(accounted(text)) == {}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("COMPLETED|None|0:0", ("done", "")),
        ("CANCELLED by 0|None|0:15", ("cancelled", "by root")),
        ("CANCELLED by 987654|None|0:0", ("cancelled", "by user 987654")),
        ("CANCELLED|DependencyNeverSatisfied|0:0", ("failed", "DependencyNeverSatisfied")),
        ("OUT_OF_ME+|None|0:125", ("running", "OUT_OF_ME")),
        ("OUT_OF_MEMORY|None|0:125", ("failed", "OUT_OF_MEMORY")),
        ("NODE_FAIL|None|0:0", ("failed", "NODE_FAIL")),
        ("FAILED|None|7:0", ("failed", "exit code 7")),
        ("FAILED|None|0:9", ("failed", "signal 9")),
        ("TIMEOUT|None|0:0", ("failed", "TIMEOUT")),
        ("REQUEUED|None|0:0", ("requeued", "REQUEUED")),
    ],
)
def test_every_state_of_sacct_is_one_of_ours(said, state):
    ((number, found),) = accounted(f"7|{said}|1795733900|1795733960|1795733970|n[1-2]\n")
    assert (number, found.state, found.reason) == ("7", *state)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Return a function that puts a stand-in for a command of Slurm's on the PATH; its calls are kept."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, body: str) -> None:
        file = folder / name
        keeps = f'printf "%s\\n" "{name} $*" >>"{folder}/calls"; env >"{folder}/{name}.env"'
        file.write_text(f"#!/bin/sh\n{keeps}\n{body}\n")
        file.chmod(0o755)

    put.calls = lambda: (folder / "calls").read_text().splitlines() if (folder / "calls").is_file() else []
    put.env = lambda name: dict(
        row.split("=", 1) for row in (folder / f"{name}.env").read_text().splitlines() if "=" in row
    )
    return put


@pytest.fixture
def script_file(tmp_path) -> Path:
    file = tmp_path / "sft.sbatch"
    file.write_text("#!/bin/bash\n#SBATCH --partition=gpu\n")
    return file


def test_many_jobs_are_one_call_and_those_that_left_a_second_one(commands):
    commands("squeue", f"cat <<'X'\n{line('RUNNING', nodes='n1', number='1')}{line('PENDING', number='2')}X")
    commands("sacct", "echo '3|TIMEOUT|None|0:0|1795733900|1795733960|1795733970|n1'")
    found = Slurm().states(["1", "2", "3", "4"])
    assert {number: state.state for number, state in found.items()} == {
        "1": "running", "2": "queued", "3": "failed", "4": "unknown",
    }  # fmt: skip
    calls = commands.calls()
    assert [call.split()[0] for call in calls] == ["squeue", "sacct"]
    assert "--jobs=1,2,3,4" in calls[0] and "--jobs=3,4" in calls[1]
    assert Slurm().states([]) == {}
    assert len(commands.calls()) == 2


def test_a_site_without_accounts_and_a_job_that_is_forgotten(commands):
    commands("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    commands("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert Slurm().states(["9"])["9"].state == "unknown"


def test_clusters_are_asked_each_of_its_own(commands):
    commands(
        "squeue", f'case "$*" in *clusters=b*) echo "CLUSTER: b"; echo "{line("RUNNING", number="5").strip()}";; esac'
    )
    commands("sacct", "true")
    found = Slurm().states(["5;b", "5"])
    assert (found["5;b"].state, found["5"].state) == ("running", "unknown")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            "Unable to contact",
        ),
        ("sleep 30", "did not answer within"),
        ("exit 3", "ended with code 3"),
        ("printf '\\377\\376' >&2; exit 1", "does not answer"),
    ],
)
def test_a_slurm_that_does_not_answer_is_an_error_within_seconds(commands, monkeypatch, body, words):
    monkeypatch.setattr("alphaf_orch.clusters.slurm.scheduler.LOOK_S", 0.5)
    commands("squeue", body)
    with pytest.raises(ToolError, match=words):
        Slurm().states(["1"])


def test_no_slurm_is_said_with_what_to_do(monkeypatch, tmp_path, script_file):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="there is no sbatch here") as caught:
        Slurm().submit(script_file, JOB, (), ())
    assert "--on local" in caught.value.fix


@pytest.mark.parametrize(
    ("said", "number"), [("123", "123"), ("123;gpu", "123;gpu"), ("a notice of the site\n123", "123")]
)
def test_an_id_is_what_sbatch_says(commands, script_file, said, number):
    commands("sbatch", f"echo 'sbatch: a warning' >&2; echo '{said}'")
    assert Slurm().submit(script_file, JOB, ("1",), ()) == number


def test_a_refusal_is_told_in_the_words_of_sbatch_without_secrets(commands, script_file, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnopqrst")
    commands("sbatch", 'echo "sbatch: error: Invalid account $HF_TOKEN" >&2; echo "sbatch: error: no" >&2; exit 1')
    with pytest.raises(ToolError) as caught:
        Slurm().submit(script_file, JOB, (), ())
    assert caught.value.what == "Slurm did not take the job r:sft: Invalid account ***; no"
    commands("sbatch", "exit 0")
    with pytest.raises(ToolError, match="ended with code 0"):
        Slurm().submit(script_file, JOB, (), ())


def test_a_controller_that_times_out_may_have_taken_the_job(commands, script_file):
    commands(
        "sbatch",
        "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1",
    )
    with pytest.raises(ToolError) as caught:
        Slurm().submit(script_file, JOB, (), ())
    assert "squeue --me --name=r:sft" in caught.value.fix


def test_what_the_script_says_goes_before_the_users_settings_for_sbatch(commands, script_file, monkeypatch):
    for name in (
        "SBATCH_TIMELIMIT",
        "SBATCH_PARTITION",
        "SBATCH_ACCOUNT",
        "SLURM_JOB_ID",
        "SLURM_MEM_PER_CPU",
        "SLURM_CONF",
    ):
        monkeypatch.setenv(name, "mine")
    commands("sbatch", "echo 1")
    Slurm().submit(script_file, JOB, (), ())
    kept = {name for name, value in commands.env("sbatch").items() if value == "mine"}
    assert kept == {"SBATCH_ACCOUNT", "SLURM_CONF"}  # the partition is the script's


def test_settings_that_would_have_squeue_answer_otherwise_are_left_out(commands, monkeypatch):
    monkeypatch.setenv("SQUEUE_USERS", "mine")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    commands("squeue", "true")
    commands("sacct", "true")
    Slurm().states(["1"])
    found = commands.env("squeue")
    assert ("SQUEUE_USERS" in found, found["SLURM_TIME_FORMAT"]) == (False, "%s")


def test_jobs_are_found_by_the_files_that_they_were_given_as(commands, tmp_path):
    mine, other = tmp_path / "내 a|b" / "sft.sbatch", tmp_path / "dpo.sbatch"
    commands("squeue", f"printf '%s\\n' 'CLUSTER: west' '7|{mine}' '8|/else/sft.sbatch' '9_[1-3]|{other}'")
    assert Slurm().by_script([mine, other]) == {mine: "7"}
    assert commands.calls() == ["squeue --me --noheader --all --format=%A|%o"]


def test_scancel_is_one_call_and_what_is_over_is_no_error(commands):
    commands("scancel", "echo 'scancel: error: Kill job error on job id 2: Invalid job id specified' >&2; exit 1")
    Slurm().cancel(["1", "2"])
    assert commands.calls() == ["scancel 1 2"]
    Slurm().cancel([])
    assert len(commands.calls()) == 1
    commands("scancel", "echo 'scancel: error: Kill job error on job id 2: Access/permission denied' >&2; exit 1")
    with pytest.raises(ToolError, match="job id 2: Access/permission denied"):
        Slurm().cancel(["1", "2"])


def test_states_are_kept_as_json_values(commands):
    commands("squeue", f"cat <<'X'\n{line('RUNNING', nodes='n1')}X")
    assert json.dumps(vars(Slurm().states(["7"])["7"]))
