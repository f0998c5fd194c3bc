"""An ablation through a real Slurm: arms side by side, what they share made once, the report behind all of them."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from cluster import until
from eval_run import FAKE as FAKE_LM_EVAL
from eval_run import write_tasks
from fake_run import FAKE


@pytest.fixture
def tools(fake, tmp_path):
    """The stand-ins for trainers, and those for what evaluates; where lm-eval keeps its own tasks is not looked up."""
    fake.python.write_text(
        "#!/bin/sh\n"
        f"case \"$*\" in *task_index*) exec echo '{{}}';; esac\n"
        f'case "$*" in *lm_eval*|*eval_tokenizer*) exec {sys.executable} {FAKE_LM_EVAL} "$@";; esac\n'
        f'exec {sys.executable} {FAKE} "$@"\n'
    )
    fake.python.chmod(fake.python.stat().st_mode | stat.S_IEXEC)
    write_tasks(tmp_path / "templates", rows=2)
    with fake.config.open("a", encoding="utf-8") as file:
        file.write(f"templates: '{tmp_path / 'templates'}'\n")
    return fake


def test_two_arms_share_their_sft_train_side_by_side_and_the_report_is_last(cluster, tools):
    tools.behave(dpo="hang")
    words = ("ablate", "dpo.beta=0.05,0.1", "--model", "tiny", "--name", "비교", "--task", "my_choice")
    said = cluster.alphaf(*words, "--config", str(tools.config), *cluster.on)
    print(said)
    until(lambda: tools.calls().count("dpo") == 2, "both arms are in their DPO")
    running = [name for name, state in cluster.jobs().items() if state == "RUNNING"]
    assert len(running) == 2 and all(name.endswith(":dpo") for name in running), cluster.jobs()
    assert tools.calls().count("sft") == tools.calls().count("preprocess") == 1
    assert 0, (said, cluster.jobs(), cluster.outputs())
