"""Runs and an experiment with every file that such have, made once and put back for each test that breaks one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import in_process
import pytest
import report_runs
from click.testing import CliRunner, Result
from fake_run import Fake

from alphaf_orch.cli.main import main
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.experiments.experiment import ExperimentPaths, write_record
from alphaf_orch.judging.prompts import EMBEDDED

PATIENCE_S = 60  # for a command that reads one broken file


class World:
    """A folder of runs: `r` was trained by the stand-in, scored and judged; `other` is a run to compare it with."""

    def __init__(self, place: Path) -> None:
        self.place, self.kept = place / "w", place / "kept"
        self.runs = self.place / "실행"
        self.run = self.runs / "r"

    def call(self, *args: str) -> Result:
        """Run `alphaf` in this process; an end that takes too long is no end."""
        with _bounded():
            return CliRunner().invoke(main, list(args))

    def lead(self, patch: pytest.MonkeyPatch) -> None:
        """Have the environment name the folders of this world and what its stand-ins obey."""
        patch.setenv("ALPHAF_RUNS", str(self.runs))
        places = {"ALPHAF_CACHE": "cache", "HF_HOME": "hf", "FAKE_TOOL": "control.json"}
        for name, place in places.items():
            patch.setenv(name, str(self.place / place))

    def restore(self) -> None:
        """Put everything back as it was made."""
        shutil.rmtree(self.place)
        shutil.copytree(self.kept, self.place, symlinks=True)


@contextmanager
def world(place: Path) -> Iterator[World]:
    """Yield the world, its folders in the environment and the tools in this process."""
    made = World(place)
    with pytest.MonkeyPatch.context() as patch:
        made.place.mkdir()
        fake = Fake(made.place)
        made.lead(patch)
        patch.chdir(place)
        in_process.bring(patch)
        done = made.call("run", "--config", str(fake.config), "--model", "tiny", "--run", "r")
        assert done.exit_code == 0, done.output
        for name in ("r", "other"):
            paths = RunPaths(made.runs / name) if name == "r" else report_runs.make_run(made.runs / name)
            for stage in ("sft", "dpo"):
                rows = [report_runs.sample(f"m{i}", float(i % 2)) for i in range(4)]
                report_runs.add_result(paths, stage, "finance_ko_mcq", rows)
        report_runs.add_judge(RunPaths(made.run))
        _experiment(made.runs / "비교")
        shutil.copytree(made.place, made.kept, symlinks=True)
        yield made


def _experiment(root: Path) -> None:
    from bakeoff_runs import planned

    bakeoff = planned()
    root.mkdir()
    write_record(ExperimentPaths(root), bakeoff.experiment, (), "2026-11-24T12:18:31+00:00")
    report_runs.make_run(root / "tiny-qwen")


@pytest.fixture(name="made", scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world of a module's tests."""
    with world(tmp_path_factory.mktemp("깨진 것")) as found:
        yield found


@pytest.fixture(name="broken")
def put_back(made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world, whole, for a test that breaks it."""
    made.lead(monkeypatch)
    made.restore()
    return made


@contextmanager
def _bounded() -> Iterator[None]:
    def ended(*_: object) -> None:
        raise TimeoutError("the command does not end")

    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


ANSWERS = f"r/answers/sft/{EMBEDDED}.jsonl"
WHOLE = bool(os.environ.get("ALPHAF_WHOLE"))
