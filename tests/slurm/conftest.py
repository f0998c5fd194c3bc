"""A real Slurm of two machines on this one, for the tests of this folder; it ends with them, in any case.

Without Slurm, munge and root they are skipped, saying what is lacking; `make slurm` installs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import CLUSTER, Cluster, lacking

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands here: `make test-fast` leaves it out."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the slurm.conf of a Slurm that runs, its machines idle."""
    why = lacking()
    if why:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("slurm")
    for left in (2, 1, 0):  # another process may have taken one of the ports meanwhile
        done = subprocess.run(
            (str(CLUSTER), "start", str(folder), str(os.getpid())),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == 0:
            break
        if not left:
            pytest.fail(f"no Slurm of its own started: {done.stderr}")
    yield folder / "slurm.conf"
    subprocess.run((str(CLUSTER), "stop", str(folder)), timeout=60, check=True)
    shutil.rmtree(folder)


@pytest.fixture
def cluster(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, its queue empty before and after, and the environment of whoever is on its login node."""
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    made = Cluster(tmp_path, slurm)
    yield made
    made.empty()
