"""What was asked of the check, and a machine with one card."""

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpu_check import steps


@pytest.fixture
def asked(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(work=tmp_path / "work", output=tmp_path / "docs", budget=1000, only=[], rehearse=False)


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = SimpleNamespace(gpus=("NVIDIA H100 80GB HBM3",), cpus=16)
    monkeypatch.setattr(steps, "detect_machine", lambda: machine)
