"""A run that an earlier version made is evaluated and continued by this one, with the real tools."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import earlier_run
import pytest


def test_it_is_evaluated_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_python: Path) -> None:
    run = earlier_run.bring(tmp_path / "옛것", monkeypatch)

    def alphaf(*args: str) -> None:
        argv = [str(warm_python), "-m", "alphaf_orch", *args]
        done = subprocess.run(argv, env=dict(os.environ), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    before = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]
    alphaf("dpo", "--run", earlier_run.NAME, "--set", "max_steps=2")
    stages = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert {name: stages[name] for name in before} == before
    assert {stages[name]["state"] for name in ("dpo_data", "dpo", "merge_dpo")} == {"done"}
    alphaf("eval", "--run", earlier_run.NAME, "--task", "finance_ko_mcq", "--limit", "2", "--stages", "sft,dpo")
    assert {path.parent.name for path in run.glob("eval/*/finance_ko_mcq.json")} == {"base", "sft", "dpo"}
