"""One chain of a soak: the same command again and again, ended by faults, and what it leaves compared."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.bundle.files import sha256
from alphaf_orch.core.paths import PACKAGE, RunPaths
from alphaf_orch.core.processes import Process, living, mark_of
from alphaf_orch.core.record import read_json
from soak.faults import FAULTS, Fault

ORPHANS_S = 10.0  # after so long nothing of a run lives
_POLL_S = 0.02
MISSED = "nobody"  # the fault came too late, or before what it is for
_START = "the start"  # planning and the look at the machine, before the first stage is launched
_LONGEST_S = 900.0  # of one call; the undisturbed chain takes a minute
RUN = "soak"
# Seconds a moment is aimed into where the undisturbed run tells none.
_START_S = 3.0


@dataclass
class Hit:
    """What one fault met and what came of it."""

    fault: str
    stage: str
    exit_code: int
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """What a finished run is compared by: every stage with its state and fingerprint, its last step, its weights."""

    stages: Mapping[str, tuple[str, str, int | None]]
    weights: Mapping[str, str]


def shared_env(place: Path) -> dict[str, str]:
    """Return what all chains below `place` are told, and the warm parent too: it serves nobody who is told another."""
    return {
        "HF_HOME": str(place / "hf"),
        "TORCHINDUCTOR_CACHE_DIR": str(place / "torchinductor"),
        "OMP_NUM_THREADS": "1",  # the threads of toy models spend their time waiting for each other
    }


class Chain:
    """A run in folders of its own below `place`, and the command that makes it."""

    def __init__(self, place: Path, words: tuple[str, ...], python: str = sys.executable) -> None:
        self.paths = RunPaths(place / "실행" / RUN)
        self._place = place
        self._argv = [python, "-m", "alphaf_orch", "run", "--run", RUN, *words]
        place.mkdir(parents=True)

    @contextlib.contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start the command, what it says going to said.log; it ends with us, whatever ends us."""
        env = {
            **os.environ,
            "PYTHONPATH": str(PACKAGE.parent),
            "ALPHAF_RUNS": str(self.paths.root.parent),
            "ALPHAF_CACHE": str(self._place / "cache"),
            **shared_env(self._place.parent),
        }
        with self.said.open("ab") as said:
            alphaf = subprocess.Popen(self._argv, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            yield alphaf
        finally:
            alphaf.kill()
            alphaf.wait()

    @property
    def said(self) -> Path:
        """What all calls said, one behind the other."""
        return self._place / "said.log"

    def finish(self) -> int:
        """Run the command to its end and return its exit code."""
        with self.started() as alphaf:
            return _wait(alphaf)

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the manifest's stages, none where there is no manifest yet."""
        stages: dict[str, dict[str, Any]] = (read_json(self.paths.manifest) or {}).get("stages", {})
        return stages

    def state(self) -> State:
        """Return what the run came to."""
        stages = {
            name: (entry["state"], entry["fingerprint"], (entry.get("result") or {}).get("steps"))
            for name, entry in self.entries().items()
        }
        files = sorted(self.paths.root.glob("*/**/*.safetensors"))
        kept = [path for path in files if not any(part.startswith("checkpoint-") for part in path.parts)]
        weights = {str(path.relative_to(self.paths.root)): sha256(path) for path in kept}
        return State(stages, weights)

    def left(self, took: Mapping[str, float]) -> list[str]:
        """Return the stages that are not done."""
        return [name for name in took if self.entries().get(name, {}).get("state") != "done"]

    def hit(self, chance: random.Random, took: Mapping[str, float]) -> Hit:
        """Start the command, let one fault meet it at a moment drawn by `chance`, and return what came of it."""
        said_before = self.said.stat().st_size if self.said.exists() else 0
        left = self.left(took)
        stage, share, fault = chance.choice([_START, *left]), chance.random(), chance.choice(FAULTS)
        with self.started() as alphaf:
            self._wait_for(stage, alphaf)
            wanted = time.monotonic() + share * took.get(stage, _START_S)
            while time.monotonic() < wanted and alphaf.poll() is None:
                time.sleep(_POLL_S)
            hit = Hit(fault.name, self._strike(fault, alphaf), _wait(alphaf))
        hit.wrong += self._orphans()
        said = self.said.read_bytes()[said_before:].decode("utf-8", "replace")
        if hit.exit_code not in {0, *fault.codes}:
            hit.wrong.append(f"exit code {hit.exit_code}")
        if "Traceback (most recent call last)" in said or "Aborted!" in said:
            hit.wrong.append("a traceback or `Aborted!` on the terminal")
        return hit

    def _wait_for(self, stage: str, alphaf: subprocess.Popen[bytes]) -> None:
        """Wait until the manifest says that the stage runs, or the command has ended."""
        while stage != _START and alphaf.poll() is None:
            entry = self.entries().get(stage)
            if entry and entry["state"] == "running":
                return
            time.sleep(_POLL_S)

    def _strike(self, fault: Fault, alphaf: subprocess.Popen[bytes]) -> str:
        running = [name for name, entry in self.entries().items() if entry["state"] == "running"]
        children = [child for child in self._living() if child.pid != alphaf.pid]
        if alphaf.poll() is not None or (fault.of_children and not children):
            return MISSED
        fault.strike(alphaf, children)
        return running[-1] if running else _START

    def _living(self) -> list[Process]:
        return living(mark_of(self.paths.lock))

    def _orphans(self) -> list[str]:
        end = time.monotonic() + ORPHANS_S
        while (left := self._living()) and time.monotonic() < end:
            time.sleep(_POLL_S)
        return [f"left behind: {process}" for process in left]


def _wait(alphaf: subprocess.Popen[bytes]) -> int:
    try:
        return alphaf.wait(_LONGEST_S)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"`alphaf` (process {alphaf.pid}) did not end within {_LONGEST_S:.0f} s") from None


def durations(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the seconds that each stage of a finished run took."""
    return {name: float(entry.get("seconds", 0.0)) for name, entry in entries.items()}
