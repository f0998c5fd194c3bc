"""A run that an earlier version made is evaluated and continued by this one, with the real tools."""

from __future__ import annotations

import json
from pathlib import Path

import earlier_run
import pytest

pytestmark = pytest.mark.real


def test_it_is_evaluated_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alphaf) -> None:
    run = earlier_run.bring(tmp_path / "옛것", monkeypatch)
    before = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]
    done = alphaf("dpo", "--run", earlier_run.NAME, "--set", "max_steps=2")
    assert done.exit_code == 0, done.output
    stages = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["stages"]
    assert {name: stages[name] for name in before} == before
    assert {stages[name]["state"] for name in ("dpo_data", "dpo", "merge_dpo")} == {"done"}
    done = alphaf("eval", "--run", earlier_run.NAME, "--task", "finance_ko_mcq", "--limit", "2", "--stages", "sft,dpo")
    assert done.exit_code == 0, done.output
    assert {path.parent.name for path in run.glob("eval/*/finance_ko_mcq.json")} == {"base", "sft", "dpo"}
