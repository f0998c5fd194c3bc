"""What the door to processes promises, with the real deepspeed launcher and its like."""

import sys

import pytest

from alphaf_orch.core.command import capture, child_env

# deepspeed 0.18.9 does this in git_version_info.py: its inference ops ask for nvcc while it is imported.
DEEPSPEED = """
import os

class MissingCUDAException(Exception):
    pass

class DeepSpeedEngine:
    pass

if not os.environ.get("DS_IGNORE_CUDA_DETECTION"):
    raise MissingCUDAException("CUDA_HOME does not exist, unable to compile CUDA op(s)")
"""


@pytest.mark.parametrize("theirs", [None, ""])
def test_accelerate_unwraps_a_model_beside_a_deepspeed_without_nvcc(theirs, tmp_path, monkeypatch):
    """Every save of a trainer goes through unwrap_model, and that imports deepspeed where it is installed."""
    if theirs is None:
        monkeypatch.delenv("DS_IGNORE_CUDA_DETECTION", raising=False)
    else:
        monkeypatch.setenv("DS_IGNORE_CUDA_DETECTION", theirs)
    monkeypatch.setenv("DS_SKIP_CUDA_CHECK", "1")
    (tmp_path / "deepspeed").mkdir()
    (tmp_path / "deepspeed" / "__init__.py").write_text(DEEPSPEED)
    (tmp_path / "deepspeed-0.18.9.dist-info").mkdir()
    (tmp_path / "deepspeed-0.18.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deepspeed\nVersion: 0.18.9\n"
    )
    code = (
        "import os, sys, torch, accelerate\n"
        "model = accelerate.Accelerator(cpu=True).unwrap_model(torch.nn.Linear(1, 1))\n"
        "print(type(model).__name__, 'deepspeed' in sys.modules, os.environ['DS_SKIP_CUDA_CHECK'])"
    )
    env = child_env({"PYTHONPATH": str(tmp_path)}, online=False)
    assert capture((sys.executable, "-c", code), env=env) == (0, "Linear True 1\n")
