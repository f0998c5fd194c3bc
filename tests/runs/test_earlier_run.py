"""A run that an earlier version made is listed, shown, planned, reported and not trained again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import earlier_run
import pytest

from alphaf_orch.core.record import read_manifest

STAGES = ["base_model", "data", "preprocess", "sft", "merge_sft"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return earlier_run.bring(tmp_path / "옛것", monkeypatch)


def test_it_is_listed_and_shown(run, alphaf):
    assert earlier_run.NAME in alphaf("runs").output
    shown = json.loads(alphaf("show", earlier_run.NAME, "--json").output)
    assert {name: entry["state"] for name, entry in shown["stages"].items()} == dict.fromkeys(STAGES, "done")
    assert shown["model"] == str(run / "sft" / "merged")


def test_the_same_command_has_nothing_to_do(run, alphaf):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = alphaf("sft", "--run", earlier_run.NAME)
    assert done.exit_code == 0, done.output
    assert "nothing to do" in done.output
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert not changed


def test_nothing_is_wrong_in_it_and_no_look_changes_it(run, alphaf):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert alphaf("repair", earlier_run.NAME).output == f"nothing is wrong in {earlier_run.NAME}\n"
    for args in (("runs",), ("show", earlier_run.NAME), ("repair", earlier_run.NAME, "--apply")):
        assert alphaf(*args).exit_code == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_changed_setting_is_told_with_both_values(run, alphaf):
    done = alphaf("sft", "--run", earlier_run.NAME, "--set", "lora_r=8")
    assert done.exit_code
    assert "lora_r" in done.output
    assert "4" in done.output
    assert read_manifest(run / "manifest.json")["stages"]["sft"]["state"] == "done"


def test_its_report_says_what_it_said(run, alphaf):
    """Line for line, but for the moment of writing, and intervals and tests, which are those of today."""
    files = [run / f"report.{language}.md" for language in ("ko", "en")]
    told = [_lasting(file) for file in files]
    assert alphaf("report", earlier_run.NAME).exit_code == 0
    assert [_lasting(file) for file in files] == told


_METHODS = {
    "### How to read this, and the statistics",
    "### 읽는 법과 통계 방법",
    "### Every comparison and test",
    "### 모든 비교와 검정",
}
# In brackets: intervals, tests, and what could have been seen.
_FIGURES = re.compile(r"\\\[[^]]*\]| p=[\d.]+| \((?:seen|none would)[^)]*\)| ?\([^)]*보였을 것\)| ?\([^)]*않았을 것\)")


def _lasting(file: Path) -> list[str]:
    """Return the lines less the moment of writing, the intervals, and how they were made."""
    found, method = [], False
    for line in file.read_text(encoding="utf-8").splitlines():
        method = line in _METHODS or (method and not line.startswith("#"))
        if not method and not re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", line):
            found.append(_FIGURES.sub("", line))
    return found
