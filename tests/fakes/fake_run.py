"""A config file that points every tool at the stand-in for training tools, and a way to tell it how to behave."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

FAKE = Path(__file__).with_name("fake_tool.py")


class Fake:
    """A config file that points every tool at the stand-in, and a way to tell it how to behave."""

    def __init__(self, folder: Path) -> None:
        self.control = folder / "control.json"
        self.python = folder / "가짜 python"
        self.python.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
        self.python.chmod(self.python.stat().st_mode | stat.S_IEXEC)
        self.config = folder / "설정.yaml"
        self.config.write_text(f"tools: {{axolotl: '{self.python}', dpo: '{self.python}'}}\ngpus: 0\n", "utf-8")
        self.behave()

    def behave(self, **stages) -> None:
        self.control.write_text(json.dumps(stages))

    def calls(self) -> list[str]:
        file = self.control.with_name("calls.jsonl")
        return [json.loads(line)["stage"] for line in file.read_text().splitlines()] if file.is_file() else []

    def argv(self, stage: str) -> list[str]:
        lines = self.control.with_name("calls.jsonl").read_text().splitlines()
        return [c["argv"] for c in map(json.loads, lines) if c["stage"] == stage][-1]

    def forget(self) -> None:
        self.control.with_name("calls.jsonl").unlink(missing_ok=True)


def finished(place: Path, run: str) -> Fake:
    """Return the stand-ins in a folder, with `runs` and `cache` beside them of a run of `tiny` that they finished."""
    from alphaf_orch.cli.main import main

    fake = Fake(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_TOOL", str(fake.control))
        patch.setenv("ALPHAF_RUNS", str(place / "runs"))
        patch.setenv("ALPHAF_CACHE", str(place / "cache"))
        patch.chdir(place)
        done = CliRunner().invoke(main, ["run", "--model", "tiny", "--run", run, "--config", str(fake.config)])
    assert done.exit_code == 0, done.output
    return fake
