"""A training on two machines of a real Slurm: srun starts an alphaf on each, their launchers and ranks meet (gloo)."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from fake_run import FAKE

FAKES = FAKE.parent
GLOO = FAKES / "gloo"


def test_two_machines_of_a_job_train_together(cluster, fake, monkeypatch):
    # The launcher is real; its program is found before the installed one of that name. The other stages are quick.
    fake.python.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *accelerate_cli*) PYTHONPATH="{GLOO}:$PYTHONPATH" exec {sys.executable} "$@";; esac\n'
        f'exec {sys.executable} {FAKE} "$@"\n'
    )
    fake.config.write_text(
        f"tools: {{axolotl: '{fake.python}'}}\nmodel: tiny\ngpus: 1\nnodes: 2\nnode_timeout: 60\n"
        "sft: {micro_batch_size: 1, gradient_accumulation_steps: 1, bf16: false}\n",
        "utf-8",
    )
    # A machine with a GPU that is none: Slurm counts it, alphaf is told of it.
    python = fake.control.with_name("job python")
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} "{FAKES / "gpu_machine.py"}" "$@"\n', "utf-8")
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("FAKES", str(FAKES))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # the machines' names lead nowhere
    cluster.profile(
        env=["FAKE_TOOL", "OMP_NUM_THREADS", "FAKES", "MASTER_ADDR"], cpus=1, python=str(python),
        gres="gpu:h100", gpus_per_node=1, gpu="NVIDIA H100 80GB HBM3",
    )  # fmt: skip
    cluster.alphaf("sft", "--run", "둘", "--config", str(fake.config), *cluster.on)
    asked = cluster.call("scontrol", "show", "job")
    assert "gpu:h100:1" in asked, asked
    assert set(cluster.wait().values()) == {"COMPLETED"}, cluster.outputs()
    logs = Path(os.environ["ALPHAF_RUNS"]) / "둘" / "logs"
    assert "rank 0 of 2 on machine 0: the sum is 3" in (logs / "sft.log").read_text("utf-8")
    assert "rank 1 of 2 on machine 1: the sum is 3" in (logs / "sft.node1.log").read_text("utf-8")
