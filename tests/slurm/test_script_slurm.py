"""What a real Slurm and bash make of a job's file, its program a few lines of shell; and what Slurm says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster import Cluster, until

from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.clusters.slurm.scheduler import Slurm
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

PROGRAM = """#!/bin/bash
echo "$SLURM_NODEID: $3 $4 $5|$PWD|$HF_HOME|$GIVEN|$HUSH|$TMPDIR|$SLURM_EXPORT_ENV|$(nproc >/dev/null && echo cpus)"
case $5 in code-*) exit "${5#code-}";; hang) sleep 60;; esac
"""


class Hand:
    """Hands small jobs over, in a folder whose name is hard to write down."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.cluster, self.slurm = cluster, Slurm()
        self.root = folder / "결과 %j 'a\"b $x # `c`" / "런 1"
        (self.root / "jobs").mkdir(parents=True)
        self.python = self.root / "파이썬 python"
        self.python.write_text(PROGRAM, "utf-8")
        self.python.chmod(0o755)

    def over(self, name: str, after=(), behind=(), nodes=1, **profile) -> str:
        job = Job("런 1", name, Needs("train", 0, nodes), "sft")
        place = Place(str(self.python), str(self.root), {"HF_HOME": "/tmp/it's $HOME"})
        site = Profile(**{"scheduler": "slurm", "cpus": 1, **profile})
        path, text = self.slurm.script(job, site, RunPaths(self.root), place)
        path.write_text(text, "utf-8")
        return self.slurm.submit(path, job, after, behind)

    def ended(self, *ids: str):
        until(lambda: all(state.over for state in self.slurm.states(ids).values()), f"jobs {ids} have ended")
        found = self.slurm.states(ids)
        return [(found[name].state, found[name].reason) for name in ids]

    def said(self, name: str) -> str:
        return (self.root / "jobs" / f"{name}.out").read_text("utf-8")


@pytest.fixture
def hand(cluster, tmp_path) -> Hand:
    return Hand(tmp_path, cluster)


def test_what_is_in_the_file_reaches_the_program_on_each_machine_and_nothing_else_does(hand, tmp_path, monkeypatch):
    for name, value in {"GIVEN": "a,b  c=$d", "HUSH": "secret", "SBATCH_TIMELIMIT": "1:2:3:4"}.items():
        monkeypatch.setenv(name, value)
    number = hand.over(
        "sft", nodes=2, env=("GIVEN",), time="10", scratch=f"{tmp_path}/$SLURM_JOB_ID", setup=("export HUSH=",),
        extra=("--comment='two  words'",), gres="gpu:h100",
    )  # fmt: skip
    assert hand.ended(number) == [("done", "")], hand.said("sft")
    lines = sorted(line for line in hand.said("sft").splitlines() if "|" in line)
    told = f"job 런 1 sft|{hand.root}|/tmp/it's $HOME|a,b  c=$d||{tmp_path}/{number}|ALL|cpus"
    assert lines == [f"{node}: {told}" for node in (0, 1)]
    shown = hand.cluster.call("scontrol", "show", "job", number)
    assert "JobName=런 1:sft\n" in shown
    assert "Comment=two  words" in shown and "TimeLimit=00:10:00" in shown


def test_how_jobs_end_is_what_slurm_says_and_those_behind_them_follow_or_do_not(hand):
    failing = hand.over("code-7")
    never = hand.over("a", [failing])
    never_either = hand.over("b", [never])
    behind = hand.over("c", (), [failing, never])
    setup = hand.over("d", setup=("cd /nowhere",))
    killed = hand.over("hang")
    file = RunPaths(hand.root).job_script("hang", "sbatch")
    assert hand.slurm.by_script([file, Path("/nowhere")]) == {file: killed}, "whatever its path looks like"
    until(lambda: hand.slurm.states([killed])[killed].state == "running", "it runs")
    hand.slurm.cancel([killed, "999999"])
    assert hand.ended(failing, never, never_either, behind, setup, killed) == [
        ("failed", "exit code 7"),
        ("failed", "DependencyNeverSatisfied"),
        ("failed", "DependencyNeverSatisfied"),
        ("done", ""),
        ("failed", "exit code 1"),
        ("cancelled", ""),
    ]
    assert "this line of the profile failed with code 1: cd /nowhere" in hand.said("d")
    assert hand.slurm.states(["999999"])["999999"].state == "unknown"


def test_a_limit_and_a_refusal_are_in_the_words_of_slurm(hand, monkeypatch):
    for profile, words in (
        ({"partition": "nosuch"}, "invalid partition specified: nosuch"),
        ({"memory": "9999999G"}, "Memory specification can not be satisfied"),
        ({"extra": ("--nodelist=elsewhere",)}, "Invalid node name specified"),
    ):
        with pytest.raises(ToolError, match=words):
            hand.over("x", **profile)
    monkeypatch.setenv("SLURM_CONF", str(hand.root / "nothing.conf"))
    with pytest.raises(ToolError, match="Slurm"):
        hand.slurm.states(["1"])
