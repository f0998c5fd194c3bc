"""Every test gets folders of its own; nothing of the user's cache, runs or environment leaks in."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import warm
from click.testing import CliRunner, Result
from fake_run import Fake
from shared import once
from xdist.scheduler import LoadScopeScheduling

from alphaf_orch.core import signals
from alphaf_orch.core.hardware import Machine

REAL = Path(__file__).with_name("real")
# A script that starts the tests with `&` has Ctrl-C ignored by them and by all they start, and alphaf heeds that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Where containers forbid bytecode, each of some thousand children would compile all of alphaf anew: half a second each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Whose tests take longest begin first, so that no worker waits for one of them at the end.
LONG = (
    "test_chain_real.py",
    "test_walks.py",
    "test_chain_slurm.py",
    "test_limit_slurm.py",
    "test_layouts_real.py",
    "test_architectures.py",
    "test_contract.py",
    "test_bakeoff_real.py",
    "test_ablate_real.py",
    "test_dpo_script_real.py",
    "test_resume_real.py",
    "test_merge_models_real.py",
)
# Tests that share nothing with others of their file: any worker may take the next.
_MODEL = re.compile(r"\[(tiny-\w+)")
ALONE = ("test_the_whole_chain_on_a_layout", "test_sft_of_one_seed_is_one_training", "test_neftune_on_the_tiny_model")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave tests/real alone where no real test is asked for: its modules import torch."""
    return True if collection_path == REAL and config.option.markexpr == "not real" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in tests/real, and put the long files first; within a file nothing moves."""
    for item in items:
        if item.path.is_relative_to(REAL):
            item.add_marker(pytest.mark.real)
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


class _Groups(LoadScopeScheduling):
    """Gives a worker what shares the fixtures of a module: a file, or of a file the tests of one model.

    `--dist loadgroup` would be that, but xdist 3.8.0 writes the groups where pytest 9.2 does not read them.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if test.partition("[")[0] in ALONE:
            return nodeid
        model = _MODEL.search(test) if file.endswith("test_architectures.py") else None
        return f"{file} {model[1]}" if model else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Groups:
    """Return what gives the workers their tests."""
    return _Groups(config, log)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("ALPHAF_", "HF_", "ACCELERATE_", "CUDA_")) and name != "ALPHAF_WRITE_GOLDEN":
            monkeypatch.delenv(name)
        elif name in {"LC_ALL", "LC_MESSAGES", "LANG"} and os.environ[name].lower().startswith("ko"):
            monkeypatch.setenv(name, "C.UTF-8")  # what is said is compared in English, on a Korean's machine too
    monkeypatch.setenv("ALPHAF_CALLED", "alphaf")  # whatever python or program a test starts it by
    monkeypatch.delenv("MAKELEVEL", raising=False)  # of `make test`: the code that make hides is said then
    monkeypatch.setenv("ALPHAF_RUNS", str(tmp_path / "실행"))
    monkeypatch.setenv("ALPHAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    # The threads of toy models spend their time waiting for each other.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Leave nothing to the next test of what a test handles, has got or was asked for: commands run in this process."""
    before, hook = {number: signal.getsignal(number) for number in signals.STOPPING}, sys.unraisablehook
    yield
    signals.anew()
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a python that starts the real tools in milliseconds; one warm parent serves all workers."""
    worker = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    link = (base.parent if worker else base) / "warm-python"
    owner = os.getppid() if worker else os.getpid()  # ends last, whatever becomes of a worker
    return once(link, lambda place: place.symlink_to(warm.start(owner))).readlink()


@pytest.fixture
def cpu() -> Machine:
    """A machine without GPUs."""
    return Machine((), 2)


@pytest.fixture
def eight_gpus() -> Machine:
    """The article's machine."""
    return Machine(tuple(f"NVIDIA H100 {i}" for i in range(8)), 96)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The stand-ins for the tools, in the test's own folder."""
    made = Fake(tmp_path)
    monkeypatch.setenv("FAKE_TOOL", str(made.control))
    return made


@pytest.fixture
def alphaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs the `alphaf` command in this process, in an empty folder.

    Whatever it prints with --json is held to the published schema.
    """
    from answers import checked

    from alphaf_orch.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Result:
        result = CliRunner().invoke(main, list(args), catch_exceptions=False)
        if "--json" in args:
            checked(result.stdout)
        return result

    return call
