"""Two machines' launchers on this one: accelerate and torch's agents are real, their ranks really meet (gloo)."""

import os
import stat
import sys
from pathlib import Path

import pytest
from fake_run import FAKE, Fake
from machines import Machines

from alphaf_orch.core.paths import CHILD

TRAINER = Path(__file__).parents[1] / "fakes" / "gloo"


@pytest.fixture
def machines(tmp_path, monkeypatch):
    fake = Fake(tmp_path)
    # The launcher is real; its program is found before the installed one of that name. The other stages are quick.
    fake.python.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *accelerate_cli*) PYTHONPATH="{TRAINER}:$PYTHONPATH" exec {sys.executable} "$@";; esac\n'
        f'exec {sys.executable} {FAKE} "$@"\n'
    )
    fake.python.chmod(fake.python.stat().st_mode | stat.S_IEXEC)
    fake.config.write_text(
        f"tools: {{axolotl: '{fake.python}'}}\nmodel: tiny\ngpus: 1\nnodes: 2\nnode_timeout: 60\n"
        "sft: {micro_batch_size: 1, gradient_accumulation_steps: 1, bf16: false}\n",
        "utf-8",
    )
    monkeypatch.setenv("FAKE_TOOL", str(fake.control))
    monkeypatch.setenv("FAKES", str(FAKE.parent))
    made = Machines(fake.config, tmp_path)
    yield made
    made.stop()


def log(name):
    return (Path(os.environ["ALPHAF_RUNS"]) / "tiny" / "logs" / f"{name}.log").read_text("utf-8")


def test_two_launchers_meet_one_fails_both_end_and_the_same_command_goes_on(machines):
    (first, said), (other, other_said) = machines.both("sft", env={"DIES": "1", "GRACE": "20"})
    assert (first, other) == (7, 7), said + other_said
    assert "this machine lost its card" in other_said
    assert "this machine lost its card" in said
    (first, said), (other, other_said) = machines.both("sft")
    assert (first, other) == (0, 0), said + other_said
    assert "rank 0 of 2 on machine 0: the sum is 3" in log("sft")
    assert "rank 1 of 2 on machine 1: the sum is 3" in log("sft.node1")
    assert "sft: done" in said
    assert "hand-off contract holds" in said


def test_a_launcher_alone_gives_up_when_it_was_told_to(tmp_path):
    """What bounds the wait once the launchers are started: torch's static rendezvous, told `timeout=`."""
    import subprocess
    import time

    from alphaf_orch.core.nodes import Node, free_port
    from alphaf_orch.planning.stages import Launch
    from alphaf_orch.runs.nodes.leader import on_node

    launch = Launch(1, 2, "no", nodes=2)
    file = tmp_path / "accelerate.yaml"
    file.write_text(launch.config().text, "utf-8")
    argv = on_node(launch.argv(sys.executable, file), Node(0, "127.0.0.1", free_port()), 2)
    begun = time.monotonic()
    done = subprocess.run(
        (*argv, "-m", "axolotl.cli.train", "none.yaml"), capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": f"{TRAINER}:{CHILD}"},
    )  # fmt: skip
    assert done.returncode
    assert "1/2 clients joined" in done.stderr
    assert time.monotonic() - begun < 60
