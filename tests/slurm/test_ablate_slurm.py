"""An ablation through a real Slurm: arms side by side, what they share made once, the report behind all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cluster import until
from whole_run import VERSIONS, whole


@pytest.fixture
def tools(fake, tmp_path):
    """The stand-ins for trainers and for what evaluates."""
    return whole(fake, tmp_path)


def arms(names):
    return sorted({name.rpartition(":")[0] for name in names})


def test_two_arms_share_their_sft_train_side_by_side_and_the_report_is_last(cluster, tools):
    tools.behave(dpo="hang", versions=VERSIONS)
    words = ("ablate", "dpo.beta=0.05,0.1", "--model", "tiny", "--name", "비교", "--task", "my_choice")
    said = cluster.alphaf(*words, "--config", str(tools.config), *cluster.on)
    assert "12 job(s) submitted" in said, said  # 7 of the chain, 2 more of the second arm, 2 evaluations, the report
    until(lambda: tools.calls().count("dpo") == 2, "both arms are in their DPO")
    running = [name for name, state in cluster.jobs().items() if state == "RUNNING"]
    assert len(arms(running)) == 2 and all(name.endswith(":dpo") for name in running), cluster.jobs()
    assert tools.calls().count("sft") == tools.calls().count("preprocess") == 1
    tools.behave(versions=VERSIONS)
    for name in running:
        cluster.call("scancel", "--batch", "--signal=USR1", f"--name={name}")  # and both go on by themselves
    states = cluster.wait()
    assert set(states.values()) == {"COMPLETED"}, (states, cluster.outputs())
    folder = Path(os.environ["ALPHAF_RUNS"]) / "비교"
    record = json.loads((folder / "experiment.json").read_text("utf-8"))
    assert [arm["state"] for arm in record["arms"]] == ["done", "done"], record
    assert (folder / "report.html").is_file()
    report = cluster.call("scontrol", "show", "job", cluster.ids()["비교:report"])
    ended = [cluster.call("scontrol", "show", "job", number) for number in cluster.ids().values()]
    assert max(moment(job, "EndTime") for job in ended) == moment(report, "EndTime")


def moment(job, field):
    return next(word.removeprefix(f"{field}=") for word in job.split() if word.startswith(f"{field}="))
