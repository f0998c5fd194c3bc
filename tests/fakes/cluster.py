"""What tests do with the Slurm that tools/slurm_cluster.sh starts: submit by `alphaf`, wait, look, end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CLUSTER = Path(__file__).parents[2] / "tools" / "slurm_cluster.sh"
ROOT = CLUSTER.parents[1]
# What a loaded machine may take for what takes seconds; who waits for a condition does not wait longer than it takes.
PATIENCE_S = 120.0


def lacking() -> str:
    """Return why no Slurm can be started here; empty where one can."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    absent = [name for name in ("sbatch", "srun", "slurmctld", "slurmd", "munged") if not shutil.which(name, path=path)]
    if absent:
        return f"no {', '.join(absent)} on this machine: `make slurm` installs Slurm"
    return "" if os.getuid() == 0 else "only root can start a Slurm of its own"


def until(true: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
    """Return what the function returns, once that is anything."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Cluster:
    """The cluster as a user meets it; `folder` is his, with a profile `slurm.yaml`."""

    def __init__(self, folder: Path, conf: Path) -> None:
        self.folder = folder
        self.before_slurm = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
        self.env = {
            **os.environ,
            "SLURM_CONF": str(conf),
        }  # of Slurm's own commands: a test may change what alphaf finds
        self.before = max((int(number) for number in self.call("squeue", "-aht", "all", "-o", "%A").split()), default=0)
        self.profile(env=["FAKE_TOOL", "OMP_NUM_THREADS"], cpus=1)

    def profile(self, **values: Any) -> None:
        """Write the profile that `on` names."""
        (self.folder / "slurm.yaml").write_text(json.dumps({"scheduler": "slurm", **values}), "utf-8")

    @property
    def on(self) -> tuple[str, str]:
        """The option that submits here."""
        return ("--on", f"slurm:{self.folder / 'slurm.yaml'}")

    def alphaf(
        self, *args: str, env: Mapping[str, str] | None = None, code: int | None = 0, seconds: float = PATIENCE_S
    ) -> str:
        """Call `alphaf` as on a login node and return all that it said; `code` is how it has to end."""
        done = subprocess.run(
            (sys.executable, "-m", "alphaf_orch", *args),
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=seconds,
            check=False,
        )
        assert code is None or done.returncode == code, f"code {done.returncode}\n{done.stdout}{self.outputs()}"
        return done.stdout

    def call(self, *argv: str) -> str:
        """Return what one of Slurm's commands says."""
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Return the states of this test's jobs by their names, of each name the one that was submitted last."""
        return {name: state for name, _, state in self._rows()}

    def ids(self) -> dict[str, str]:
        """Return their ids by their names."""
        return {name: str(number) for name, number, _ in self._rows()}

    def _rows(self) -> list[tuple[str, int, str]]:
        said = self.call("squeue", "--all", "--states=all", "--noheader", "--format=%A|%T|%j")
        rows = [line.split("|", 2) for line in said.splitlines()]
        found = sorted((int(number), name, state) for number, state, name in rows)
        return [(name, number, state) for number, name, state in found if number > self.before]

    def wait(self, seconds: float = PATIENCE_S) -> dict[str, str]:
        """Return the states of all jobs by their names once all have ended."""
        over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
        end = time.monotonic() + seconds
        while not set(self.jobs().values()) <= over:
            assert time.monotonic() < end, f"{self.jobs()}\n{self.outputs()}"
            time.sleep(0.2)
        return self.jobs()

    def outputs(self) -> str:
        """Return what the jobs printed."""
        runs = Path(os.environ["ALPHAF_RUNS"])
        return "".join(f"--- {path}\n{path.read_text('utf-8', 'replace')}" for path in sorted(runs.rglob("jobs/*.out")))

    def empty(self) -> None:
        """End and forget all jobs, and have both machines up again."""
        self.call("scancel", "--user=root")
        until(lambda: not self.call("squeue", "--noheader").strip(), "the queue is empty")
        until(self._idle, "the machines are idle")

    def _idle(self) -> bool:
        """Return whether both are idle; one that is down is asked to come back, and may have done so by itself."""
        states = [line.split() for line in self.call("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()]
        for node, state in states:
            if state.rstrip("*") in ("down", "drained", "draining"):
                resume = ("scontrol", "update", f"nodename={node}", "state=resume")
                subprocess.run(resume, env=self.env, capture_output=True, timeout=60, check=False)
        return all(state.rstrip("*") == "idle" for _, state in states)
