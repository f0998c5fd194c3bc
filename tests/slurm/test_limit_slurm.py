"""A real training that meets a real time limit: Slurm's signal, a checkpoint, the queue, and the same weights."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from cluster import until
from own_process import alphaf

from alphaf_orch.core import processes

STEPS = ("--set", "max_steps=12", "--set", "save_steps=50")  # no checkpoint but the one that is asked for


def step(run: Path) -> int:
    file = run / "metrics" / "sft.jsonl"
    rows = file.read_text("utf-8").splitlines() if file.is_file() else []
    return max((json.loads(row).get("step", 0) for row in rows if row.endswith("}")), default=0)


def test_a_training_that_is_cut_by_its_time_limit_ends_with_the_weights_of_one_that_is_not(
    cluster, warm_python, tmp_path
):
    """The training is held at a step until the signal comes: it would be over before, or would have to be long."""
    whole = alphaf(tmp_path, "sft", "--model", "tiny", "--run", "whole", *STEPS, python=warm_python)
    assert whole.returncode == 0, whole.stderr
    # Slurm looks at the limits every 30 s: the signal comes 25 to 55 s behind the start.
    cluster.profile(python=str(warm_python), env=["OMP_NUM_THREADS"], stop_before=5, stages={"train": {"time": "1"}})
    cluster.alphaf("sft", "--model", "tiny", "--run", "cut", *STEPS, *cluster.on)
    run = Path(os.environ["ALPHAF_RUNS"]) / "cut"
    until(lambda: step(run) >= 3, "the training is at its third step")
    held = processes.living(processes.mark_of(run / ".lock"))
    assert held
    for process in held:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        until(lambda: list(run.glob(".stop.*")), "Slurm's signal has become a wish")
    finally:
        for process in held:
            processes.send(process.pid, signal.SIGCONT)
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    entry = json.loads((run / "manifest.json").read_text("utf-8"))["stages"]["sft"]
    (requeue,) = entry["requeues"]
    assert 3 <= int(requeue["checkpoint"].removeprefix("checkpoint-")) < 12, requeue
    assert "time limit" in requeue["why"], requeue
    one, other = run.with_name("whole"), run
    for file in ("sft/adapter_model.safetensors", "sft/merged/model.safetensors"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    assert "SIGKILL" not in cluster.outputs()
