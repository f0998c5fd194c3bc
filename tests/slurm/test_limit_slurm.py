"""A real training that meets a real time limit: Slurm's signal, a checkpoint, the queue, and the same weights."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from cluster import until

from alphaf_orch.core import processes

STEPS = ("--set", "max_steps=12", "--set", "save_steps=50")  # no checkpoint but the one that is asked for


def step(run: Path) -> int:
    file = run / "metrics" / "sft.jsonl"
    rows = file.read_text("utf-8").splitlines() if file.is_file() else []
    return max((json.loads(row).get("step", 0) for row in rows if row.endswith("}")), default=0)


OF_A_JOB = ("SLURM", "SRUN_", "ENVIRONMENT", "HOSTNAME", "MAIL", "TMPDIR", "LOGNAME", "USER")


@pytest.fixture
def python(cluster, warm_python, tmp_path):
    """A tool's python that forks its programs of the warm parent in a job too: what a job sets, that one never saw."""
    file = tmp_path / "python"
    file.write_text(
        f"#!{sys.executable} -IS\nimport os, sys\nbefore = {cluster.before_slurm!r}\n"
        f"env = {{key: value for key, value in os.environ.items() if not key.startswith({OF_A_JOB!r})}}\n"
        f"env |= {{key: value for key, value in before.items() if key.startswith({OF_A_JOB!r}) or key == 'PATH'}}\n"
        f"os.execve({str(warm_python)!r}, [{str(warm_python)!r}, *sys.argv[1:]], env)\n",
        "utf-8",
    )
    file.chmod(0o755)
    return file


def test_a_training_that_is_cut_by_its_time_limit_ends_with_the_weights_of_one_that_is_not(cluster, python, tmp_path):
    """The training is held at a step until the signal comes: it would be over before, or would have to be long."""
    config = tmp_path / "tools.yaml"
    config.write_text(f"tools: {{axolotl: '{python}', dpo: '{python}'}}\n", "utf-8")
    words = ("sft", "--model", "tiny", "--config", str(config), *STEPS)
    cluster.alphaf(*words, "--run", "whole", seconds=600)
    # Slurm looks at limits every 30 s: the signal comes 70 to 100 s behind the start; a loaded machine trains by then.
    cluster.profile(env=["OMP_NUM_THREADS"], cpus=1, stop_before=20, stages={"train": {"time": "2"}})
    cluster.alphaf(*words, "--run", "cut", *cluster.on)
    run = Path(os.environ["ALPHAF_RUNS"]) / "cut"
    until(lambda: step(run) >= 3, "the training is at its third step", seconds=400)
    held = processes.living(processes.mark_of(run / ".lock"))
    assert held
    for process in held:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        # alphaf makes the file when it first looks for it.
        until(lambda: any(file.stat().st_size for file in run.glob(".stop.*")), "Slurm's signal has become a wish")
    finally:
        for process in held:
            processes.send(process.pid, signal.SIGCONT)
    assert set(cluster.wait(seconds=300).values()) == {"COMPLETED"}, cluster.outputs()
    entry = json.loads((run / "manifest.json").read_text("utf-8"))["stages"]["sft"]
    (requeue,) = entry["requeues"]
    assert 3 <= int(requeue["checkpoint"].removeprefix("checkpoint-")) < 12, requeue
    assert "time limit" in requeue["why"], requeue
    for file in ("sft/adapter_model.safetensors", "sft/merged/model.safetensors"):
        assert (run.with_name("whole") / file).read_bytes() == (run / file).read_bytes(), file
