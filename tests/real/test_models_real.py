"""What the tools themselves say of the base models."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alphaf_orch.inputs import hub_cache


@pytest.mark.parametrize(
    "env", [{}, {"XDG_CACHE_HOME": "/x"}, {"HF_HOME": "~/$D/hf"}, {"HF_HUB_CACHE": "${D}/c", "HF_HOME": "/e"}]
)
def test_cache_root_is_huggingface_hubs(env: dict[str, str]) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    env = {**env, "HOME": "/home/u", "D": "/data", "PATH": "/usr/bin"}
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert str(hub_cache.cache_root(env)) == theirs.stdout.strip().replace("//", "/")
