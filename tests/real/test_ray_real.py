"""What reaches Ray's workers, on a Ray that is really started; skipped where ray is not installed.

axolotl's own way to Ray ends on a CPU: it asks for GPUs, and for NCCL between them.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alphaf_orch.core.command import child_env
from alphaf_orch.core.hardware import Machine
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")

DRIVER = """
import json, os, sys
from pathlib import Path
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

def work(config):
    import torch, torch.distributed as dist
    import alphaf_orch.programs.json_lines as ours
    held = torch.ones(1)
    dist.all_reduce(held)
    found = {key: os.environ.get(key) for key in ("ALPHAF_METRICS", "HF_HUB_OFFLINE", "RAY_USAGE_STATS_ENABLED")}
    found |= {"sum": held.item(), "ours": ours.__file__, "path": os.environ["PYTHONPATH"]}
    Path(config["folder"], f"{dist.get_rank()}.json").write_text(json.dumps(found))

storage = Path(sys.argv[1])
TorchTrainer(
    work,
    train_loop_config={"folder": str(storage)},
    scaling_config=ScalingConfig(num_workers=2, use_gpu=False),
    run_config=RunConfig(name="alphaf", storage_path=str(storage)),
).fit()
"""


def test_workers_find_our_modules_and_variables_and_meet(tmp_path):
    machine = Machine(("H100", "H100"), 2)
    sft = {"use_ray": True, "micro_batch_size": 1, "gradient_accumulation_steps": 1}
    plan = make_plan(RunConfig(model="tiny", gpus=2, sft=sft), machine, tmp_path / "run", Scope(dry=True))
    stage = next(found for found in plan.stages if found.name == "sft")
    env = child_env(stage.env, online=False) | {"RAY_TMPDIR": "/tmp"}
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER, "utf-8")
    done = subprocess.run(
        (sys.executable, str(driver), str(tmp_path)), env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text("utf-8"))
        assert found["sum"] == 2
        assert found["ALPHAF_METRICS"] == stage.env["ALPHAF_METRICS"]
        assert (found["HF_HUB_OFFLINE"], found["RAY_USAGE_STATS_ENABLED"]) == ("1", "0")
        assert Path(found["ours"]).name == "json_lines.py"
        assert os.environ.get("PYTHONPATH", "") in found["path"]
